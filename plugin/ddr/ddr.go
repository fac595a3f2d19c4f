// Package ddr implements a plugin that tells clients which encrypted transports this resolver
// offers (RFC 9462), so that they upgrade by themselves.
package ddr

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/pkg/doh"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/plugin/pkg/replay"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "ddr"

const (
	zone      = "resolver.arpa."      // RFC 9462 section 6.4
	discovery = "_dns.resolver.arpa." // section 4
	byName    = "_dns."               // section 5, before the resolver's name

	// ttl is that of all answers, in seconds: a client that has moved to an encrypted
	// transport asks again when it ends, and the listeners may have changed.
	ttl = 300
)

// DDR answers for the resolver's name, in lower case, and for resolver.arpa.
type DDR struct {
	Next plugin.Handler

	at        corefile.Position
	target    string
	fixed     []netip.Addr // that the directive names; none: found for each client
	endpoints []instance.Endpoint
	own       func() []link // the machine's addresses
}

// Name implements plugin.Handler.
func (d *DDR) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (d *DDR) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	q := r.Question[0]
	qname := strings.ToLower(q.Name)
	if q.Qclass != dns.ClassINET {
		return plugin.NextOrFailure(d.Name(), d.Next, ctx, w, r)
	}
	switch {
	case qname == discovery, qname == byName+d.target:
	case qname == d.target && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA):
	case dns.IsSubDomain(zone, qname) && q.Qtype != dns.TypeDS: // its DS is arpa's, and public
	default:
		return plugin.NextOrFailure(d.Name(), d.Next, ctx, w, r)
	}
	replay.Of(ctx).Refuse() // it depends on the address that the client asked
	return dns.RcodeSuccess, w.WriteMsg(d.answer(w, r, qname))
}

// answer makes the answer about one of our names: NODATA where there is nothing (RFC 9462
// section 6.4).
func (d *DDR) answer(w dns.ResponseWriter, r *dns.Msg, qname string) *dns.Msg {
	m := reply.Authoritative(r)
	q := r.Question[0]
	apex := qname
	if dns.IsSubDomain(zone, qname) {
		apex = zone
	}
	addrs := d.addresses(w)
	switch {
	case qname == d.target:
		m.Answer = addressRecords(q.Name, q.Qtype, addrs)
	case q.Qtype == dns.TypeSVCB && (qname == discovery || qname == byName+d.target):
		if m.Answer = d.services(q.Name, addrs); len(m.Answer) > 0 {
			m.Extra = append(addressRecords(d.target, dns.TypeA, addrs), addressRecords(d.target, dns.TypeAAAA, addrs)...)
		}
	case q.Qtype == dns.TypeSOA && qname == zone:
		m.Answer = []dns.RR{reply.SOA(zone, ttl)}
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{reply.SOA(apex, ttl)}
	}
	return m
}

// service is one record: the transports that share a port.
type service struct {
	alpn []string
	http bool
	port uint16
	at   instance.Endpoint
}

// order is that of the transports: clients use the first one that they know.
var order = []struct{ transport, alpn string }{{"https3", "h3"}, {"https", "h2"}, {"quic", "doq"}, {"tls", "dot"}}

// services returns the SVCB records (RFC 9461) of the endpoints at some of the addresses.
func (d *DDR) services(owner string, addrs []netip.Addr) []dns.RR {
	var all []service
	for _, o := range order {
		for _, e := range d.endpoints {
			if e.Transport != o.transport {
				continue
			}
			http := strings.HasPrefix(o.transport, "https")
			if n := len(all); n > 0 && http && all[n-1].http && all[n-1].port == e.Port {
				all[n-1].alpn = append(all[n-1].alpn, o.alpn)
				continue
			}
			all = append(all, service{[]string{o.alpn}, http, e.Port, e})
		}
	}
	var records []dns.RR
	for _, s := range all {
		var v4, v6 []net.IP
		for _, a := range addrs {
			switch {
			case !s.at.On(a):
			case a.Is4():
				v4 = append(v4, a.AsSlice())
			default:
				v6 = append(v6, a.AsSlice())
			}
		}
		if len(v4)+len(v6) == 0 {
			continue
		}
		rr := &dns.SVCB{Hdr: header(owner, dns.TypeSVCB), Priority: uint16(len(records) + 1), Target: d.target}
		rr.Value = []dns.SVCBKeyValue{&dns.SVCBAlpn{Alpn: s.alpn}, &dns.SVCBPort{Port: s.port}}
		if len(v4) > 0 {
			rr.Value = append(rr.Value, &dns.SVCBIPv4Hint{Hint: v4})
		}
		if len(v6) > 0 {
			rr.Value = append(rr.Value, &dns.SVCBIPv6Hint{Hint: v6})
		}
		if s.http {
			rr.Value = append(rr.Value, &dns.SVCBDoHPath{Template: doh.Path + "{?dns}"})
		}
		records = append(records, rr)
	}
	return records
}

func header(owner string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func addressRecords(owner string, rrtype uint16, addrs []netip.Addr) (records []dns.RR) {
	for _, a := range addrs {
		switch {
		case rrtype == dns.TypeA && a.Is4():
			records = append(records, &dns.A{Hdr: header(owner, rrtype), A: a.AsSlice()})
		case rrtype == dns.TypeAAAA && a.Is6():
			records = append(records, &dns.AAAA{Hdr: header(owner, rrtype), AAAA: a.AsSlice()})
		}
	}
	return records
}
