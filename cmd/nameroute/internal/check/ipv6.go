package check

import (
	"net"
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// checkIPv6 finds IPv6 on one side only: clients try it first and wait.
func (h *host) checkIPv6(r *report) {
	wan := slices.ContainsFunc(h.defaults, func(d policy.KernelRoute) bool { return d.Family == gateway.V6 })
	for _, lan := range h.lan {
		has := hasIPv6(lan)
		switch {
		case wan && !has && len(h.wan) > 0:
			r.ok("IPv6: the WAN has it, %s has no public address: clients use IPv4 only", lan)
		case has && !wan:
			r.warn("IPv6: %s has addresses, but the WAN has no default route: clients try IPv6 first and wait: stop announcing it on %s, or accept the WAN's router advertisements (sysctl net.ipv6.conf.%s.accept_ra=2)", lan, lan, orElse(h.wan, "WAN"))
		}
	}
}

// hasIPv6 reports whether an interface has a public IPv6 address. Clients do not expect
// the internet from unique local addresses (RFC 4193).
func hasIPv6(link string) bool {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return false
	}
	addrs, err := i.Addrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Is6() && p.Addr().IsGlobalUnicast() && !p.Addr().IsPrivate()
	})
}

// orElse returns the first text, or none where there is none.
func orElse(s []string, none string) string {
	if len(s) == 0 {
		return none
	}
	return s[0]
}
