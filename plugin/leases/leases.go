// Package leases implements a plugin that answers the names of DHCP clients from the
// lease files of dnsmasq and Kea.
package leases

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/fall"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "leases"

// Leases answers NAME, NAME.DOMAIN and the reverse names of the addresses of clients with
// a lease. Other names go to the next plugin; names below DOMAIN only with fallthrough.
type Leases struct {
	Next plugin.Handler
	Fall fall.F // zones whose unknown names go to the next plugin

	domain string // lower case FQDN
	suffix string // domain with a leading dot
	ttl    uint32 // longest TTL, in seconds
	files  []*file
	now    func() time.Time
	book   atomic.Pointer[book] // replaced, never changed: a query takes no lock

	problems logonce.Edge // of files
	counter  query.PerServer[prometheus.Counter]
}

func newLeases(domain string, paths []string, quiet bool) *Leases {
	l := &Leases{domain: domain, suffix: "." + domain, ttl: defaultTTL, now: time.Now}
	for _, p := range paths {
		l.files = append(l.files, &file{path: p, optional: quiet})
	}
	l.book.Store(newBook(nil, 0))
	return l
}

// Name implements plugin.Handler.
func (l *Leases) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (l *Leases) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if m := l.answer(r); m != nil {
		l.count(ctx)
		return dns.RcodeSuccess, w.WriteMsg(m)
	}
	return plugin.NextOrFailure(l.Name(), l.Next, ctx, w, r)
}

// answer returns the answer to a query, or nil for the next plugin. It does not allocate
// for the latter, except for names with upper case letters.
func (l *Leases) answer(r *dns.Msg) *dns.Msg {
	q := r.Question[0]
	if q.Qclass != dns.ClassINET {
		return nil
	}
	qname := strings.ToLower(q.Name)
	b, now := l.book.Load(), l.now().Unix()
	if strings.HasSuffix(qname, ".arpa.") {
		if m := l.reverse(r, b, qname, now); m != nil {
			return m
		}
	}
	if label, ok := strings.CutSuffix(qname, l.suffix); ok {
		if h := b.hosts[label]; h.live(now) {
			return l.host(r, h, now)
		}
	} else if label, ok := strings.CutSuffix(qname, "."); ok && query.OfHosts(q.Qtype) {
		if h := b.hosts[label]; h.live(now) {
			return l.host(r, h, now)
		}
	}
	return l.unknown(r, qname)
}

// host answers A and AAAA of a client, and other types with NODATA.
func (l *Leases) host(r *dns.Msg, h *host, now int64) *dns.Msg {
	m := reply.Authoritative(r)
	hdr := dns.RR_Header{Name: r.Question[0].Name, Rrtype: r.Question[0].Qtype, Class: dns.ClassINET}
	for _, a := range h.addrs {
		hdr.Ttl = l.ttlOf(a, now)
		switch {
		case a.expires <= now:
		case hdr.Rrtype == dns.TypeA && a.addr.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: a.addr.AsSlice()})
		case hdr.Rrtype == dns.TypeAAAA && a.addr.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: hdr, AAAA: a.addr.AsSlice()})
		}
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{reply.SOA(l.domain, denialTTL)}
	}
	return m
}

// reverse answers PTR of a leased address, and other types with NODATA.
func (l *Leases) reverse(r *dns.Msg, b *book, qname string, now int64) *dns.Msg {
	addr, ok := addressOf(qname)
	if !ok {
		return nil
	}
	h := b.names[addr]
	if !h.live(now) {
		return nil
	}
	for _, a := range h.addrs {
		if a.addr != addr || a.expires <= now {
			continue
		}
		m := reply.Authoritative(r)
		if r.Question[0].Qtype != dns.TypePTR {
			m.Ns = []dns.RR{reply.SOA(r.Question[0].Name, denialTTL)}
			return m
		}
		hdr := dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: l.ttlOf(a, now)}
		m.Answer = []dns.RR{&dns.PTR{Hdr: hdr, Ptr: h.label + l.suffix}}
		return m
	}
	return nil
}

// unknown answers names below the domain without a lease. The DS of the domain is in its
// parent zone (RFC 4035 section 3.1.4.1).
func (l *Leases) unknown(r *dns.Msg, qname string) *dns.Msg {
	apex := qname == l.domain
	if !apex && !strings.HasSuffix(qname, l.suffix) || l.Fall.Through(qname) || apex && r.Question[0].Qtype == dns.TypeDS {
		return nil
	}
	m := reply.Authoritative(r)
	hdr := dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: l.ttl}
	switch {
	case !apex:
		m.Rcode = dns.RcodeNameError
	case r.Question[0].Qtype == dns.TypeSOA:
		m.Answer = []dns.RR{reply.SOA(r.Question[0].Name, denialTTL)}
		return m
	case r.Question[0].Qtype == dns.TypeNS:
		m.Answer = []dns.RR{&dns.NS{Hdr: hdr, Ns: l.domain}}
		return m
	}
	m.Ns = []dns.RR{reply.SOA(l.domain, denialTTL)}
	return m
}

// ttlOf returns the TTL of an address, which ends no later than its lease.
func (l *Leases) ttlOf(a leased, now int64) uint32 {
	return uint32(max(1, min(int64(l.ttl), a.expires-now)))
}

// denialTTL is the TTL of denials in seconds: short, because a client may get its lease
// at any moment. It is the shortest that CoreDNS's cache stores.
const denialTTL = 5
