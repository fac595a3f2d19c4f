// Package leases implements a plugin that answers for the names of DHCP clients, out
// of the lease files of dnsmasq and Kea.
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

	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "leases"

// Leases answers for clients that have a lease: NAME and NAME.DOMAIN, and the
// reverse names of their addresses. What it does not know it passes on, names below
// DOMAIN only where it is told to.
type Leases struct {
	Next plugin.Handler
	Fall fall.F // zones of which unknown names are passed on

	domain string // lower case, with the last dot
	suffix string // the same with a dot before it
	ttl    uint32 // seconds, at most
	files  []*file
	now    func() time.Time
	book   atomic.Pointer[book] // swapped as a whole: a query takes no lock

	counter query.PerServer[prometheus.Counter]
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

// answer is the answer to a query, nil for what is not ours. Nothing is allocated for
// the latter but for names with capitals.
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

// host answers A and AAAA of a client, and anything else with no data.
func (l *Leases) host(r *dns.Msg, h *host, now int64) *dns.Msg {
	m := reply.Authoritative(r)
	hdr := dns.RR_Header{Name: r.Question[0].Name, Rrtype: r.Question[0].Qtype, Class: dns.ClassINET}
	for _, a := range h.addrs {
		hdr.Ttl = l.left(a, now)
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

// reverse answers PTR of a leased address, and anything else there with no data.
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
		hdr := dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: l.left(a, now)}
		m.Answer = []dns.RR{&dns.PTR{Hdr: hdr, Ptr: h.label + l.suffix}}
		return m
	}
	return nil
}

// unknown answers for what stands below the domain and has no lease. A DS of the
// domain is asked of its parent (RFC 4035 section 3.1.4.1).
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

// left is the TTL of an address: never beyond its lease.
func (l *Leases) left(a leased, now int64) uint32 {
	return uint32(max(1, min(int64(l.ttl), a.expires-now)))
}

// denialTTL is short, in seconds: a client that is not there may be in a moment.
// CoreDNS's cache holds nothing for less.
const denialTTL = 5
