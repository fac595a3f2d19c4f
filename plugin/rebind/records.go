package rebind

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// first returns the first private address in an answer. It does not allocate.
func (b *Rebind) first(m *dns.Msg) netip.Addr {
	for _, section := range [...][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if a := b.privateIn(rr); a.IsValid() {
				return a
			}
		}
	}
	return netip.Addr{}
}

// privateIn returns the first private address in a record.
func (b *Rebind) privateIn(rr dns.RR) netip.Addr {
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
	if ok && b.isPrivate(a) {
		return a
	}
	return netip.Addr{}
}

// rrset identifies the RRset that an RRSIG covers.
type rrset struct {
	owner  string
	rrtype uint16
}

// strip removes private addresses from a section of a copied message, with the signatures
// of the RRsets that it changes. It reports whether there were any.
func (b *Rebind) strip(section *[]dns.RR) bool {
	changed := map[rrset]bool{}
	*section = slices.DeleteFunc(*section, func(rr dns.RR) bool {
		if !b.privateIn(rr).IsValid() {
			return false
		}
		changed[rrset{strings.ToLower(rr.Header().Name), rr.Header().Rrtype}] = true
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
		return ok && changed[rrset{strings.ToLower(sig.Hdr.Name), sig.TypeCovered}]
	})
	return len(changed) > 0
}

// withoutHints removes each hint that holds a private address, as a whole: a client
// without hints queries A and AAAA. A removed key must not stay mandatory (RFC 9460
// section 8).
func (b *Rebind) withoutHints(values []dns.SVCBKeyValue) []dns.SVCBKeyValue {
	var removed []dns.SVCBKey
	values = slices.DeleteFunc(values, func(v dns.SVCBKeyValue) bool {
		if !b.badHint(v).IsValid() {
			return false
		}
		if !slices.Contains(removed, v.Key()) { // one of two, however often it is there
			removed = append(removed, v.Key())
		}
		return true
	})
	return slices.DeleteFunc(values, func(v dns.SVCBKeyValue) bool {
		m, ok := v.(*dns.SVCBMandatory)
		if !ok {
			return false
		}
		m.Code = slices.DeleteFunc(m.Code, func(k dns.SVCBKey) bool { return slices.Contains(removed, k) })
		return len(m.Code) == 0
	})
}
