// Package client makes the answers of *upstream* to its clients.
package client

import (
	"context"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/explain"
	"github.com/nameroute/nameroute/plugin/pkg/reply"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// negativeTTL is the TTL in seconds of the answer that there is no AAAA: short, because
// the route may get IPv6.
const negativeTTL = 60

// Answer turns a resolver's reply into the answer to a client's message: its id, its
// question section and name in its own case, and EDNS only where the client sent it (RFC 6891,
// section 6.1.1). EDNS options are between two neighbours and are removed, except for
// extended errors (RFC 8914, section 3) and the client's own subnet. CoreDNS's writer truncates the answer to the
// client's size.
func Answer(m, r *dns.Msg) *dns.Msg {
	m.Id, m.Opcode, m.Response = r.Id, dns.OpcodeQuery, true
	m.RecursionDesired, m.CheckingDisabled = r.RecursionDesired, r.CheckingDisabled
	if len(m.Question) != 1 { // an error without a question section
		m.Question = make([]dns.Question, 1)
	}
	m.Question[0] = r.Question[0]
	wire.RepeatCase(m, r.Question[0].Name)
	from, to := m.IsEdns0(), r.IsEdns0()
	subnet := wire.SubnetFor(m, r)
	if from != nil {
		extra := m.Extra[:0]
		for _, rr := range m.Extra {
			if rr.Header().Rrtype != dns.TypeOPT {
				extra = append(extra, rr)
			}
		}
		m.Extra = extra
	}
	if to == nil {
		if m.Rcode > 0xf { // cannot be expressed without an OPT record
			m.Rcode = dns.RcodeServerFailure
		}
		return m
	}
	opt := newOPT(to.Do())
	if from != nil {
		for _, o := range from.Option {
			if o.Option() == dns.EDNS0EDE {
				opt.Option = append(opt.Option, o)
			}
		}
	}
	if subnet != nil {
		opt.Option = append(opt.Option, subnet)
	}
	m.Extra = append(m.Extra, opt)
	return m
}

func newOPT(do bool) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(wire.UDPSize)
	if do {
		opt.SetDo()
	}
	return opt
}

// NoData returns the answer that the name has no AAAA: guarantee 6. Without an SOA record
// it could not be cached (RFC 2308, section 5). A client that validates refuses it where the
// name is signed, and is told why (RFC 8914, section 4.5).
func NoData(r *dns.Msg, route string) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.RecursionAvailable = true
	m.Ns = []dns.RR{reply.SOA(r.Question[0].Name, negativeTTL)}
	if opt := r.IsEdns0(); opt != nil {
		m.Extra = []dns.RR{newOPT(opt.Do())}
	}
	reply.AddError(r, m, dns.ExtendedErrorCodeForgedAnswer, "route "+route+" has no IPv6")
	return m
}

// IsOfResolver reports whether a query is about the resolver that is asked. It is never forwarded:
// the client would turn to that one, and not be routed (RFC 9462, section 6.4). The DS of
// resolver.arpa is public.
func IsOfResolver(q dns.Question) bool {
	return dns.IsSubDomain(resolverZone, q.Name) && q.Qtype != dns.TypeDS
}

const resolverZone = "resolver.arpa."

// NoResolver returns the answer that there is no other resolver to turn to.
func NoResolver(r *dns.Msg) *dns.Msg {
	m := reply.Authoritative(r)
	m.Ns = []dns.RR{reply.SOA(resolverZone, negativeTTL)}
	return m
}

// Write writes an answer. Its extended errors go by the context, too, because a cache drops them.
func Write(ctx context.Context, w dns.ResponseWriter, m *dns.Msg) error {
	explain.Leave(ctx, m)
	return w.WriteMsg(m)
}
