// Package home implements a plugin that answers special-use names, which must not leave
// the LAN, as their RFCs require.
package home

import (
	"context"
	"net"
	"strings"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
)

const name = "home"

// Home answers names that are local or do not exist in the public DNS.
type Home struct {
	Next plugin.Handler

	zones map[string]zone
	root  zone // for names with a single label

	counters query.PerServer[map[kind]prometheus.Counter]
}

func newHome(domains []string, withCanaries bool) *Home {
	h := &Home{zones: map[string]zone{}, root: zone{".", single, brief, false}}
	for _, z := range zones() {
		h.zones[z.name] = z
	}
	if withCanaries {
		for _, c := range canaries {
			h.zones[c] = zone{c, canary, lasting, false}
		}
	}
	for _, d := range domains {
		if _, ok := h.zones[d]; !ok {
			h.zones[d] = zone{d, domain, brief, false}
		}
	}
	return h
}

// except forwards a name and all names below it.
func (h *Home) except(name string) { h.zones[name] = zone{name: name} }

// Name implements plugin.Handler.
func (h *Home) Name() string { return name }

// ServeDNS implements plugin.Handler.
func (h *Home) ServeDNS(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
	if q := r.Question[0]; q.Qclass == dns.ClassINET {
		qname := strings.ToLower(q.Name)
		if z := h.zoneOf(qname, q.Qtype); z.kind != pass {
			h.count(ctx, z.kind)
			return dns.RcodeSuccess, w.WriteMsg(z.answer(r, qname))
		}
	}
	return plugin.NextOrFailure(h.Name(), h.Next, ctx, w, r)
}

// zoneOf returns the closest enclosing zone of a name. It does not allocate.
func (h *Home) zoneOf(qname string, qtype uint16) zone {
	for off, end := 0, false; !end; off, end = dns.NextLabel(qname, off) {
		z, ok := h.zones[qname[off:]]
		if !ok {
			continue
		}
		if off == 0 && (z.delegated && qtype == dns.TypeDS) {
			return zone{} // the parent zone has it (RFC 4035 section 3.1.4.1)
		}
		return z
	}
	if qname != "." && dns.CountLabel(qname) == 1 && query.OfHosts(qtype) {
		return h.root
	}
	return zone{}
}

// answer returns the zone's answer for a name.
func (z zone) answer(r *dns.Msg, qname string) *dns.Msg {
	m := reply.Authoritative(r)
	switch z.kind {
	case localhost:
		m.Answer = loopback(r.Question[0])
	case reverse:
		z.content(m, qname)
		if qname == loopback4 || qname == loopback6 {
			m.Rcode = dns.RcodeSuccess
			m.Answer = pointer(r.Question[0])
		}
	case domain:
		z.content(m, qname)
	case special, single:
		z.name = "." // the name does not exist in the root zone
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{reply.SOA(z.name, z.ttl)}
	}
	return m
}

// content answers from the empty zone of RFC 6303 section 3.
func (z zone) content(m *dns.Msg, qname string) {
	switch {
	case qname != z.name:
		m.Rcode = dns.RcodeNameError
	case m.Question[0].Qtype == dns.TypeSOA:
		m.Answer = []dns.RR{reply.SOA(z.name, z.ttl)}
	case m.Question[0].Qtype == dns.TypeNS:
		m.Answer = []dns.RR{&dns.NS{Hdr: header(z.name, dns.TypeNS, z.ttl), Ns: z.name}}
	}
}

// The reverse names of 127.0.0.1 and ::1.
const loopback4 = "1.0.0.127.in-addr.arpa."

var loopback6 = "1." + strings.Repeat("0.", 31) + "ip6.arpa."

func loopback(q dns.Question) []dns.RR {
	switch q.Qtype {
	case dns.TypeA:
		return []dns.RR{&dns.A{Hdr: header(q.Name, q.Qtype, lasting), A: net.IPv4(127, 0, 0, 1)}}
	case dns.TypeAAAA:
		return []dns.RR{&dns.AAAA{Hdr: header(q.Name, q.Qtype, lasting), AAAA: net.IPv6loopback}}
	}
	return nil
}

func pointer(q dns.Question) []dns.RR {
	if q.Qtype != dns.TypePTR {
		return nil
	}
	return []dns.RR{&dns.PTR{Hdr: header(q.Name, q.Qtype, lasting), Ptr: "localhost."}}
}

func header(owner string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}
