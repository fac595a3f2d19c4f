package gateway

import (
	"net/netip"
	"slices"
	"time"
)

// Route is a named way out of the box: its sets, its mark, its routing table and
// its egress. It is never a kernel route.
type Route struct {
	Name     string
	Number   int // 1 to Mask.Max(); the mark's value and, by default, the table's offset
	Egress   Egress
	OnDown   OnDown
	Mark     Mark
	Table    int
	Priority int  // of its policy rule
	MTU      int  // of its link, in bytes; 0 leaves it to the provider's file or the default
	Private  bool // learn private and special-use addresses too (`private: learn`)
	SNAT     SNAT
	Hooks    bool     // `hooks: ignore`: hook commands in the provider's file are accepted, and not run
	Prefixes []string // lists whose addresses and prefixes take the route, without any question
	Evict    bool     // flows to an address that joins the route are moved to it
}

// reserved are the names of sets that are not a route's, and those whose sets nft(8)
// could not name: ip6 and icmpv6 are words of its grammar.
var reserved = []string{WAN, "exclude", "special", "dns_exempt", "evicted", "ip", "icmpv"}

// Reserved reports whether no route of gateway.yaml can have this name.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// Egress is what a route leaves by.
type Egress struct {
	Kind     EgressKind
	File     string       // WireGuard: the provider's .conf
	Link     string       // interface name; "" for a followed WAN, or where the next hop decides
	NextHops []netip.Addr // NextHop: at most one of each family
}

// EgressKind tells what an egress is made of.
type EgressKind string

// The kinds of egress. A WireGuard interface is ours to make; an Interface and
// the link of a NextHop belong to somebody else and are only used.
const (
	EgressWireGuard EgressKind = "wireguard"
	EgressInterface EgressKind = "interface"
	EgressNextHop   EgressKind = "next_hop"
	EgressWAN       EgressKind = "wan"
)

// OnDown says what becomes of a route's packets while it is down.
type OnDown string

// Block closes the door, which is the default; FallBack (`on_down: wan`) sends
// new flows by the WAN.
const (
	Block    OnDown = "block"
	FallBack OnDown = "wan"
)

// SNAT says how sources are translated on a route's egress.
type SNAT struct {
	Mode  SNATMode
	Addrs []netip.Addr // SNATTo: at most one of each family
}

// SNATMode is how a source address is chosen.
type SNATMode string

// SNATAuto is snat to a WireGuard tunnel's static address and masquerade on other
// egresses (whose flows end when the link goes down).
const (
	SNATAuto       SNATMode = "auto"
	SNATOff        SNATMode = "off"
	SNATMasquerade SNATMode = "masquerade"
	SNATTo         SNATMode = "address"
)

// Family is an address family of the kernel's.
type Family int

// V4 and V6 number the families as their last header's version does.
const (
	V4 Family = 4
	V6 Family = 6
)

// Families lists both, in the order in which state is shown.
var Families = [...]Family{V4, V6}

// FamilyOf tells an address's family; an IPv4-mapped IPv6 address is IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return V4
	}
	return V6
}

// Set names the route's set of learned addresses: vpn4, vpn6.
func (r Route) Set(f Family) string { return r.Name + f.digit() }

// PrefixSet names the route's set of prefixes from lists: vpn4p, vpn6p.
func (r Route) PrefixSet(f Family) string { return r.Name + f.digit() + "p" }

func (f Family) digit() string {
	if f == V4 {
		return "4"
	}
	return "6"
}

// Lifetime bounds how long a learned address stays in its set.
type Lifetime struct {
	Floor   time.Duration // an element lives at least this long from when it is learned
	Grace   time.Duration // and this much longer than the answer's TTL
	Ceiling time.Duration // but never longer than this
}

// Of turns the TTL of an answer that is about to be served into the time for which
// its elements must still live (need) and the time that they are given when they
// would not (want): TTL and grace, within floor and ceiling. Guarantee 2.
//
// need is half a grace short of that. A cache counts TTLs down in whole seconds, so
// the end that each hit asks for moves by fractions; without the slack every hit
// would prolong its elements by that much, each time by a call to the kernel.
func (l Lifetime) Of(ttl time.Duration) (need, want time.Duration) {
	full := min(ttl+l.Grace, l.Ceiling)
	return full - l.Grace/2, max(full, l.Floor)
}

// MaxTTL is the highest TTL that may be served, so that an element outlives it.
func (l Lifetime) MaxTTL() time.Duration { return l.Ceiling - l.Grace }
