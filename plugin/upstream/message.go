package upstream

import (
	"github.com/miekg/dns"
)

// negativeTTL is the TTL in seconds of the answer that there is no AAAA: short, because
// the route may get IPv6.
const negativeTTL = 60

// toClient turns a resolver's reply into the answer to a client's message: its id, its
// question section in its own case, and EDNS only where the client sent it (RFC 6891,
// section 6.1.1). EDNS options are between two neighbours and are removed, except for
// extended errors (RFC 8914, section 3). CoreDNS's writer truncates the answer to the
// client's size.
func toClient(m, r *dns.Msg) *dns.Msg {
	m.Id, m.Opcode, m.Response = r.Id, dns.OpcodeQuery, true
	m.RecursionDesired, m.CheckingDisabled = r.RecursionDesired, r.CheckingDisabled
	if len(m.Question) != 1 { // an error without a question section
		m.Question = make([]dns.Question, 1)
	}
	m.Question[0] = r.Question[0]
	from, to := m.IsEdns0(), r.IsEdns0()
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
	m.Extra = append(m.Extra, opt)
	return m
}

func newOPT(do bool) *dns.OPT {
	opt := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	opt.SetUDPSize(udpSize)
	if do {
		opt.SetDo()
	}
	return opt
}

// failure is SERVFAIL with the reason, for a client that speaks EDNS.
func failure(r *dns.Msg, err error) *dns.Msg {
	m := new(dns.Msg).SetRcode(r, dns.RcodeServerFailure)
	m.RecursionAvailable = true
	opt := newOPT(r.IsEdns0().Do())
	opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNetworkError, ExtraText: err.Error()})
	m.Extra = append(m.Extra, opt)
	return m
}

// noData says that the name has no AAAA: guarantee 6. Without an SOA record the
// answer could not be cached (RFC 2308, section 5). Its names are those of an
// empty zone (RFC 6303, section 3).
func noData(r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.RecursionAvailable = true
	name := r.Question[0].Name
	m.Ns = []dns.RR{&dns.SOA{
		Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  name, Mbox: "nobody.invalid.",
		Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: negativeTTL,
	}}
	if opt := r.IsEdns0(); opt != nil {
		m.Extra = []dns.RR{newOPT(opt.Do())}
	}
	return m
}

// capTTL shortens what is longer, in seconds. An OPT record's TTL is none.
func capTTL(m *dns.Msg, most uint32) {
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl = min(h.Ttl, most)
			}
		}
	}
}
