// Package reply makes the answers that plugins give themselves: failures with their
// reason, the absence of data, and capped TTLs.
package reply

import (
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Authoritative returns an empty answer to r about a name that this server knows.
func Authoritative(r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	m.RecursionAvailable = true // for other names; dig and some stubs warn otherwise
	return m
}

// Failure returns SERVFAIL with an extended error code and text (RFC 8914), which only
// clients that speak EDNS get. m is the query, or the answer that cannot be given.
func Failure(m *dns.Msg, code uint16, text string) *dns.Msg {
	f := new(dns.Msg)
	f.Id, f.Response, f.Opcode, f.RecursionDesired, f.CheckingDisabled = m.Id, true, m.Opcode, m.RecursionDesired, m.CheckingDisabled
	f.RecursionAvailable, f.Rcode = true, dns.RcodeServerFailure
	f.Question = m.Question
	AddError(m, f, code, text)
	return f
}

// maxText bounds the text of an extended error, in bytes.
const maxText = 200

// AddError adds an extended error to the answer m, where the client of req speaks EDNS.
func AddError(req, m *dns.Msg, code uint16, text string) {
	client := req.IsEdns0()
	if client == nil {
		return
	}
	opt := m.IsEdns0()
	if opt == nil {
		m.SetEdns0(client.UDPSize(), client.Do())
		opt = m.IsEdns0()
	}
	opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: strings.ToValidUTF8(text[:min(len(text), maxText)], "")})
}

// SOA returns the SOA record of an empty zone (RFC 6303 section 3). In the authority
// section it bounds how long an absence is cached, in seconds (RFC 2308 section 5).
func SOA(zone string, ttl uint32) *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
		Ns:  zone, Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 1200, Expire: 604800, Minttl: ttl,
	}
}

// CapTTL returns m with no TTL above limit, in seconds. Where one is lowered it is in a
// copy: caches may hold m, too. The TTL field of an OPT record is none.
func CapTTL(m *dns.Msg, limit uint32) *dns.Msg {
	over := func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT && rr.Header().Ttl > limit }
	if !slices.ContainsFunc(m.Answer, over) && !slices.ContainsFunc(m.Extra, over) && !slices.ContainsFunc(m.Ns, over) {
		return m
	}
	m = m.Copy()
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if over(rr) {
				rr.Header().Ttl = limit
			}
		}
	}
	return m
}
