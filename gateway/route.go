package gateway

import (
	"net/netip"
	"slices"
	"time"
)

// Route is a named way out of the box: its sets, its mark, its routing table and its
// egress. It is never a kernel route.
type Route struct {
	Name          string
	Number        int // 1 to Mask.Max(); the mark's value and, by default, the table's offset
	Egress        Egress
	OnDown        OnDown
	Mark          Mark
	Table         int
	Priority      int  // of its policy rule
	MTU           int  // of its link, in bytes; 0 leaves it to the provider's file or the default
	LearnPrivate  bool // learn private and special-use addresses too (`private: learn`)
	SNAT          SNAT
	IgnoreHooks   bool     // accept a provider file with hook commands, without running them (`hooks: ignore`)
	AllowedIPs    bool     // what its peers' AllowedIPs name takes the route, too (`prefixes: allowed_ips`)
	Prefixes      []string // lists whose addresses and prefixes take the route without a query for a name
	Evict         bool     // reset flows to an address that joins the route
	AcceptInbound bool     // accept new connections that come in through the tunnel (`inbound: accept`)
	Handshake     Handshake
	Probing       Probing  // of a route that is no group; without probes only its link and its tunnel tell
	Clients       []string // classes of clients that it is for; none: it is for all
	Match         *Match   // what packets to its addresses take it; nil: all
	Group         *Group   // of a route whose egress is other routes; nil: it has one of its own
}

// Handshake says what the handshakes of a WireGuard tunnel tell about it. A zero Timeout or
// Limit is the default.
type Handshake struct {
	Timeout time.Duration // a tunnel without its first handshake for this long is down (`handshake_timeout`)
	Limit   time.Duration // with a last one older than this it is down, if packets go unanswered (`handshake_limit`)
	Probe   time.Duration // with a last one older than this it is made to shake hands; 0: never (`handshake_probe`)
}

// Defaults and bounds of Handshake. The limit is WireGuard's REJECT_AFTER_TIME, after which
// no session is used (whitepaper section 6.1); below the lowest one, a peer that is there
// may not have been heard yet: it answers within 15 s, and is tried every 5 s.
const (
	DefaultHandshakeTimeout = 30 * time.Second
	DefaultHandshakeLimit   = 180 * time.Second
	DefaultHandshakeProbe   = 5 * time.Minute
	MinHandshakeTimeout     = 10 * time.Second
	MinHandshakeLimit       = 30 * time.Second
	MinHandshakeProbe       = DefaultHandshakeLimit // before, a session needs none
	MaxHandshake            = 24 * time.Hour
)

// reserved names are those of sets that do not belong to a route, and those with which
// nft(8) cannot name a set: ip6 and icmpv6 are keywords of its grammar.
var reserved = []string{WAN, "exclude", "always_excluded", "special", "dns_exempt", "dns_local", "evicted", "ip", "icmpv"}

// Reserved reports whether no route of gateway.yaml can have this name.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// Egress is what a route leaves by.
type Egress struct {
	Kind     EgressKind
	File     string       // WireGuard: the provider's .conf
	Link     string       // interface name; "" for a followed WAN, or where the next hop decides
	NextHops []netip.Addr // NextHop: at most one of each family
}

// EgressKind is the kind of an egress.
type EgressKind string

// The kinds of egress. nameroute creates WireGuard interfaces; other interfaces are made
// by other programs and only used.
const (
	EgressWireGuard EgressKind = "wireguard"
	EgressInterface EgressKind = "interface"
	EgressNextHop   EgressKind = "next_hop"
	EgressWAN       EgressKind = "wan"
	EgressGroup     EgressKind = "group" // other routes: see Group
)

// OnDown says what happens to a route's packets while it is down.
type OnDown string

// Block is the kill switch, and the default. FallBack (`on_down: wan`) sends new flows
// via the WAN.
const (
	Block    OnDown = "block"
	FallBack OnDown = "wan"
)

// SNAT is the source NAT on a route's egress.
type SNAT struct {
	Mode  SNATMode
	Addrs []netip.Addr // SNATTo: at most one of each family
}

// SNATMode says how the source address is chosen.
type SNATMode string

// SNATAuto translates to a WireGuard tunnel's static address, and masquerades on other
// egresses, whose flows end when the link goes down. SNATOff does so with what the box itself
// sends, whose source was chosen for another egress; SNATNone with nothing.
const (
	SNATAuto       SNATMode = "auto"
	SNATOff        SNATMode = "off"
	SNATNone       SNATMode = "none"
	SNATMasquerade SNATMode = "masquerade"
	SNATTo         SNATMode = "address"
)

// Family is an address family.
type Family int

// V4 and V6 have the values of the version field of the IP header.
const (
	V4 Family = 4
	V6 Family = 6
)

// Families lists both families in the order of output.
var Families = [...]Family{V4, V6}

// FamilyOf returns the family of an address. An IPv4-mapped IPv6 address is IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return V4
	}
	return V6
}

// TakesPrivate reports whether private and special-use addresses that are in the route's sets
// take it.
func (r Route) TakesPrivate() bool { return r.LearnPrivate || r.AllowedIPs }

// Set returns the name of the route's set of learned addresses: vpn4, vpn6.
func (r Route) Set(f Family) string { return r.Name + f.digit() }

// PrefixSet returns the name of the route's set of prefixes from lists: vpn4p, vpn6p.
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

// Of converts the TTL of an answer that is about to be served into the time for which its
// elements must still live (need), and the timeout that they get if they do not (want):
// TTL + grace, within floor and ceiling. Guarantee 2.
//
// need is half a grace shorter. A cache counts TTLs down in whole seconds, so the end
// that each hit asks for differs by fractions of a second; without the slack every hit
// would extend its elements by that much, each time with a call to the kernel.
func (l Lifetime) Of(ttl time.Duration) (need, want time.Duration) {
	full := min(ttl+l.Grace, l.Ceiling)
	return full - l.Grace/2, max(full, l.Floor)
}

// MaxTTL returns the highest TTL that may be served: an element must outlive it.
func (l Lifetime) MaxTTL() time.Duration { return l.Ceiling - l.Grace }
