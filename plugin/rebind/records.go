package rebind

import (
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// first is the first address of an answer that must not be there. It allocates nothing.
func (b *Rebind) first(m *dns.Msg) netip.Addr {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if a := b.bad(rr); a.IsValid() {
				return a
			}
		}
	}
	return netip.Addr{}
}

// bad is the first address in a record that must not be there.
func (b *Rebind) bad(rr dns.RR) netip.Addr {
	switch rr := rr.(type) {
	case *dns.A:
		return b.badIP(rr.A)
	case *dns.AAAA:
		return b.badIP(rr.AAAA)
	case *dns.HTTPS:
		return b.badValue(rr.Value)
	case *dns.SVCB:
		return b.badValue(rr.Value)
	}
	return netip.Addr{}
}

func (b *Rebind) badValue(values []dns.SVCBKeyValue) netip.Addr {
	for _, v := range values {
		if a := b.badHint(v); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

func (b *Rebind) badHint(v dns.SVCBKeyValue) netip.Addr {
	var hint []net.IP
	switch v := v.(type) {
	case *dns.SVCBIPv4Hint:
		hint = v.Hint
	case *dns.SVCBIPv6Hint:
		hint = v.Hint
	}
	for _, ip := range hint {
		if a := b.badIP(ip); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

func (b *Rebind) badIP(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if ok && b.ofHome(a) {
		return a
	}
	return netip.Addr{}
}

// set is what a signature signs.
type set struct {
	owner  string
	rrtype uint16
}

// strip takes addresses of the home out of a section, which is a copy, and the
// signatures of what is changed. It reports whether there were any.
func (b *Rebind) strip(section *[]dns.RR) bool {
	var changed []set
	*section = slices.DeleteFunc(*section, func(rr dns.RR) bool {
		if !b.bad(rr).IsValid() {
			return false
		}
		changed = append(changed, set{rr.Header().Name, rr.Header().Rrtype})
		switch rr := rr.(type) {
		case *dns.HTTPS:
			rr.Value = b.withoutHints(rr.Value)
			return false
		case *dns.SVCB:
			rr.Value = b.withoutHints(rr.Value)
			return false
		}
		return true
	})
	*section = slices.DeleteFunc(*section, func(rr dns.RR) bool {
		sig, ok := rr.(*dns.RRSIG)
		return ok && slices.Contains(changed, set{sig.Hdr.Name, sig.TypeCovered})
	})
	return len(changed) > 0
}

// withoutHints takes out each hint that holds an address of the home, as a whole: a
// client without it asks for A and AAAA. It may not stay mandatory (RFC 9460 section 8).
func (b *Rebind) withoutHints(values []dns.SVCBKeyValue) []dns.SVCBKeyValue {
	var gone []dns.SVCBKey
	values = slices.DeleteFunc(values, func(v dns.SVCBKeyValue) bool {
		if !b.badHint(v).IsValid() {
			return false
		}
		gone = append(gone, v.Key())
		return true
	})
	return slices.DeleteFunc(values, func(v dns.SVCBKeyValue) bool {
		m, ok := v.(*dns.SVCBMandatory)
		if !ok {
			return false
		}
		m.Code = slices.DeleteFunc(m.Code, func(k dns.SVCBKey) bool { return slices.Contains(gone, k) })
		return len(m.Code) == 0
	})
}
