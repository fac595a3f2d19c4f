//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
	"slices"
)

// Pair is an IPv4 address and its IPv6 counterpart.
type Pair struct{ V4, V6 netip.Addr }

func pair(v4, v6 string) Pair { return Pair{netip.MustParseAddr(v4), netip.MustParseAddr(v6)} }

// All is both addresses, IPv4 first.
func (p Pair) All() []netip.Addr { return []netip.Addr{p.V4, p.V6} }

// Has reports whether a is one of the two.
func (p Pair) Has(a netip.Addr) bool { return a == p.V4 || a == p.V6 }

// Plan is the lab's addresses. They are the same in every lab: labs do not see each
// other.
type Plan struct {
	Client   Pair           // on the LAN, 192.168.77.0/24 and fd77::/64
	BoxLAN   Pair           // br-lan
	BoxWAN   Pair           // wan0; plain forwarded traffic has it as source
	ISP      Pair           // the box's gateway; dnsmasq answers there
	WAN      []netip.Prefix // the link that BoxWAN and ISP are on, and those of AddWAN and NewPPP
	Internet []netip.Prefix

	World   Pair // public resolver of the scripted world: UDP, TCP, DoT
	World2  Pair // another one
	Unbound Pair // public resolver, Debian's unbound in front of the world
	Knot    Pair // where StartKnot serves a zone
}

// NewPlan returns the plan.
func NewPlan() Plan {
	return Plan{
		Client:   pair("192.168.77.2", "fd77::2"),
		BoxLAN:   pair("192.168.77.1", "fd77::1"),
		BoxWAN:   pair("31.0.1.2", "2a0e:1::2"),
		ISP:      pair("31.0.1.1", "2a0e:1::1"),
		WAN:      prefixes("31.0.1.0/24", "2a0e:1::/64", "31.0.5.0/24", "2a0e:5::/64", "31.0.6.0/24", "2a0e:6::/64"),
		Internet: prefixes("30.0.0.0/8", "2a0f::/16"),
		World:    pair("30.9.9.9", "2a0f:9::9"),
		World2:   pair("30.8.8.8", "2a0f:8::8"),
		Unbound:  pair("30.1.1.1", "2a0f:1::1"),
		Knot:     pair("30.5.5.5", "2a0f:5::5"),
	}
}

// TunnelPlan is the addresses of one provider.
type TunnelPlan struct {
	Endpoint Pair   // where the far end listens, on Port
	Port     uint16 // UDP
	Exit     Pair   // the source of what the provider sends to the internet
	Far      Pair   // the far end inside the tunnel; a resolver answers there
	Near     Pair   // the box inside the tunnel
}

// planTunnel is provider number n, from 0.
func planTunnel(n int) TunnelPlan {
	return TunnelPlan{
		Endpoint: pair(fmt.Sprintf("31.0.%d.2", 3+10*n), fmt.Sprintf("2a0e:%d::2", 3+10*n)),
		Port:     51820,
		Exit:     pair(fmt.Sprintf("31.0.%d.2", 4+10*n), fmt.Sprintf("2a0e:%d::2", 4+10*n)),
		Far:      pair(fmt.Sprintf("10.%d.0.1", 66+n), fmt.Sprintf("fd%d::1", 66+n)),
		Near:     pair(fmt.Sprintf("10.%d.0.2", 66+n), fmt.Sprintf("fd%d::2", 66+n)),
	}
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// within reports whether one of the prefixes contains a.
func within(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
