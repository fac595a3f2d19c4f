package chain

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/miekg/dns"
)

// AppendAddresses appends what a client could connect to of a record: A, AAAA, the hints of
// HTTPS and SVCB, and an address in place of the host of a URI.
func AppendAddresses(addrs []netip.Addr, rr dns.RR) []netip.Addr {
	switch rr := rr.(type) {
	case *dns.A:
		return appendIPs(addrs, rr.A)
	case *dns.AAAA:
		return appendIPs(addrs, rr.AAAA)
	case *dns.URI, *dns.NAPTR:
		if a := addressOf(rr); a.IsValid() {
			addrs = append(addrs, a)
		}
	default:
		for _, v := range Params(rr) {
			addrs = appendIPs(addrs, hints(v)...)
		}
	}
	return addrs
}

func appendIPs(addrs []netip.Addr, ips ...net.IP) []netip.Addr {
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}

// Target returns the name that a record leads a client to, or "". Owner and target of a PTR
// are both names of one host. The target "." of HTTPS and SVCB is the owner (RFC 9460
// section 2.5.2), that of SRV and MX none (RFC 2782, RFC 7505).
func Target(rr dns.RR) string {
	t := ""
	switch rr := rr.(type) {
	case *dns.CNAME:
		t = rr.Target
	case *dns.DNAME:
		t = rr.Target
	case *dns.HTTPS:
		t = rr.Target
	case *dns.SVCB:
		t = rr.Target
	case *dns.SRV:
		t = rr.Target
	case *dns.MX:
		t = rr.Mx
	case *dns.PTR:
		t = rr.Ptr
	case *dns.AFSDB:
		t = rr.Hostname
	case *dns.KX:
		t = rr.Exchanger
	case *dns.RT:
		t = rr.Host
	case *dns.LP:
		t = rr.Fqdn
	case *dns.NAPTR:
		if t = rr.Replacement; t == "." {
			t = nameOf(hostOf(rr))
		}
	case *dns.URI:
		t = nameOf(hostOf(rr))
	}
	if t == "." {
		return ""
	}
	return t
}

// Params returns the parameters of an HTTPS or SVCB record, nil for others.
func Params(rr dns.RR) []dns.SVCBKeyValue {
	switch rr := rr.(type) {
	case *dns.HTTPS:
		return rr.Value
	case *dns.SVCB:
		return rr.Value
	}
	return nil
}

// WithParams returns a copy of an HTTPS or SVCB record with other parameters. A removed one
// must not stay mandatory (RFC 9460 section 8).
func WithParams(rr dns.RR, params []dns.SVCBKeyValue) dns.RR {
	out := make([]dns.SVCBKeyValue, 0, len(params))
	has := map[dns.SVCBKey]bool{}
	for _, v := range params {
		has[v.Key()] = true
	}
	for _, v := range params {
		if m, ok := v.(*dns.SVCBMandatory); ok {
			kept := &dns.SVCBMandatory{}
			for _, k := range m.Code {
				if has[k] {
					kept.Code = append(kept.Code, k)
				}
			}
			if len(kept.Code) == 0 {
				continue
			}
			v = kept
		}
		out = append(out, v)
	}
	switch rr := rr.(type) {
	case *dns.HTTPS:
		c := *rr
		c.Value = out
		return &c
	case *dns.SVCB:
		c := *rr
		c.Value = out
		return &c
	}
	return rr
}

func hints(v dns.SVCBKeyValue) []net.IP {
	switch v := v.(type) {
	case *dns.SVCBIPv4Hint:
		return v.Hint
	case *dns.SVCBIPv6Hint:
		return v.Hint
	}
	return nil
}

// budget counts what the records of one answer bring.
type budget struct{ addresses, targets int }

// take counts a record, and reports whether it is beyond the bounds.
func (b *budget) take(rr dns.RR) (over bool) {
	switch rr.(type) {
	case *dns.CNAME, *dns.DNAME: // bounded by MaxNames
		return false
	case *dns.A, *dns.AAAA:
		b.addresses++
		return b.addresses > MaxAddresses
	case *dns.TXT, *dns.RRSIG:
		return false
	}
	for _, v := range Params(rr) {
		b.addresses += len(hints(v))
	}
	if addressOf(rr).IsValid() {
		b.addresses++
	}
	if Target(rr) != "" {
		b.targets++
	}
	return b.addresses > MaxAddresses || b.targets > MaxTargets
}

// reduced returns what is left of a record that is beyond the bounds: an HTTPS or SVCB
// record with fewer hints, or nil. It is called after take.
func (b *budget) reduced(rr dns.RR) dns.RR {
	params := Params(rr)
	brought := 0
	for _, v := range params {
		brought += len(hints(v))
	}
	left := MaxAddresses - (b.addresses - brought)
	if brought == 0 || b.targets > MaxTargets || left < 0 {
		b.addresses = min(b.addresses, MaxAddresses)
		return nil
	}
	var fewer []dns.SVCBKeyValue
	for _, v := range params {
		h := hints(v)
		n := min(len(h), left)
		left -= n
		switch v := v.(type) {
		case *dns.SVCBIPv4Hint:
			if n < len(h) {
				fewer = appendHint(fewer, n, &dns.SVCBIPv4Hint{Hint: h[:n:n]})
				continue
			}
			fewer = append(fewer, v)
		case *dns.SVCBIPv6Hint:
			if n < len(h) {
				fewer = appendHint(fewer, n, &dns.SVCBIPv6Hint{Hint: h[:n:n]})
				continue
			}
			fewer = append(fewer, v)
		default:
			fewer = append(fewer, v)
		}
	}
	b.addresses = MaxAddresses
	return WithParams(rr, fewer)
}

func appendHint(params []dns.SVCBKeyValue, n int, v dns.SVCBKeyValue) []dns.SVCBKeyValue {
	if n == 0 {
		return params
	}
	return append(params, v)
}

// hostOf returns the host of a record that holds a URI (URI, and NAPTR with the flag U), a
// name or an address; "" for others.
func hostOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.URI:
		return hostOfURI(rr.Target)
	case *dns.NAPTR:
		// The flag says that the regular expression gives a URI (RFC 3404 section 4.3):
		// !^.*$!sip:info@example.com!
		if strings.EqualFold(rr.Flags, "u") && len(rr.Regexp) > 1 {
			if parts := strings.Split(rr.Regexp[1:], rr.Regexp[:1]); len(parts) > 1 {
				return hostOfURI(parts[1])
			}
		}
	}
	return ""
}

// hostOfURI returns the host of a URI, of one without slashes too: sip:info@example.com.
func hostOfURI(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	if host := u.Hostname(); host != "" {
		return host
	}
	host := u.Opaque[strings.LastIndexByte(u.Opaque, '@')+1:]
	if end := strings.IndexAny(host, ";?/,>"); end >= 0 {
		host = host[:end]
	}
	if inside, _, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok {
		return inside
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}

// addressOf returns the address that a URI has in place of its host, invalid without one.
func addressOf(rr dns.RR) netip.Addr {
	host := hostOf(rr)
	if host == "" {
		return netip.Addr{}
	}
	a, _ := netip.ParseAddr(host)
	return a.Unmap().WithZone("")
}

// nameOf returns a host as an fqdn, or "" where it is an address or no name of a host.
func nameOf(host string) string {
	if _, err := netip.ParseAddr(host); err == nil || host == "" || !strings.Contains(host, ".") || strings.Contains(host, `\`) {
		return ""
	}
	if _, ok := dns.IsDomainName(host); !ok {
		return ""
	}
	return dns.Fqdn(host)
}
