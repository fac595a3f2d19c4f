package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/prefixes"
)

// Local says what takes precedence over the routes, whatever an answer or a list says, and why:
//
//   - the box's own addresses;
//   - the networks that it is connected to, except those of a route's egress;
//   - what table main sends through a gateway on a lan link;
//   - special-use addresses that table main has a kernel route to;
//   - what table main refuses (blackhole, unreachable, prohibit).
//
// Nothing else of table main is local. What it sends through a gateway on any other link,
// the WAN's most of all, is the same as its default: DHCP option 121, a router
// advertisement, a list of networks or a VPN client that exempts its server may add such
// kernel routes, and they must not take what a list names away from its route.
type Local struct {
	Own      []netip.Prefix // addresses of the box, broadcasts included
	Networks []Network      // local, by prefix
	Others   []Network      // of table main and neither local nor behind a route: the shortest prefixes
	More     int            // and how many there are besides Others
	TooMany  int            // local networks behind gateways that are not local because there are more than maxLocal; 0: none

	carved  []netip.Prefix            // what Networks cover without the more specific kernel routes that are not local
	reached []netip.Prefix            // the part of carved that links lead to
	onLAN   []netip.Prefix            // the part of reached that lan links lead to
	behind  map[string][]netip.Prefix // networks that a route's own interface is connected to, by interface
}

// Network is a network that table main has a kernel route to.
type Network struct {
	Prefix  netip.Prefix
	Via     netip.Addr // the gateway; invalid: none, or several
	Links   []string   // empty: table main refuses it
	Because string     // why it is local, or why not
	Suspect bool       // it is connected, and not local all the same
}

// maxLocal bounds the local networks that are behind gateways, because each costs a
// kernel route in every routing table of ours.
const maxLocal = 4096

// maxOthers is how many networks that are not local are kept for showing.
const maxOthers = 8

// A network of public addresses that is larger than this is not local: no uplink has one, and a
// host that answers DHCP or advertises a prefix could declare the whole internet local
// (TunnelCrack, USENIX Security 2023, "LocalNet"). Cable networks have up to a /18 on one link,
// and hosters a /48. What is on a lan link is the user's own: at most the largest block that was
// ever allocated.
var plausible = map[gateway.Family]struct{ lan, other int }{gateway.V4: {8, 18}, gateway.V6: {19, 48}}

// publicResolvers are in no uplink's network, either: who claims one wants the queries.
var publicResolvers = []netip.Addr{
	netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("1.0.0.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("8.8.4.4"),
	netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("149.112.112.112"), netip.MustParseAddr("208.67.222.222"), netip.MustParseAddr("208.67.220.220"),
	netip.MustParseAddr("2606:4700:4700::1111"), netip.MustParseAddr("2606:4700:4700::1001"), netip.MustParseAddr("2001:4860:4860::8888"),
	netip.MustParseAddr("2001:4860:4860::8844"), netip.MustParseAddr("2620:fe::fe"), netip.MustParseAddr("2620:fe::9"),
}

// Prefixes returns what is never rerouted because it is local, the box's own addresses
// included. What table main refuses is not in it: a route's table leaves that to main, so
// it is refused, and when main refuses it no longer, nothing leaves by main's default.
func (l Local) Prefixes() []netip.Prefix {
	return prefixes.Outermost(slices.Concat(l.Own, l.reached))
}

// LAN returns the part of Prefixes that is the box itself or that lan links lead to.
func (l Local) LAN() []netip.Prefix {
	return prefixes.Outermost(slices.Concat(l.Own, l.onLAN))
}

// thrown returns what a route's table leaves to table main: what is local, and the
// networks that the route's own interfaces are connected to, whose hosts need no gateway.
func (l Local) thrown(egresses ...gateway.Egress) []netip.Prefix {
	var own []netip.Prefix
	for _, e := range egresses {
		if e.Kind == gateway.EgressInterface {
			own = append(own, l.behind[e.Link]...)
		}
	}
	if len(own) == 0 {
		return l.carved
	}
	return prefixes.Outermost(slices.Concat(l.carved, own))
}

// String returns the network as ip(8) prints a kernel route.
func (n Network) String() string {
	w := []string{n.Prefix.String()}
	if n.Via.IsValid() {
		w = append(w, "via", n.Via.String())
	}
	for _, l := range n.Links {
		w = append(w, "dev", l)
	}
	return strings.Join(w, " ")
}

// around is what the meaning of a kernel route depends on.
type around struct {
	lan, wan, egresses []string
	exclude            []netip.Prefix
}

// allOn reports whether the network is reached by these links only, anyOn by one of them.
func (n Network) allOn(links []string) bool {
	return len(n.Links) > 0 && !slices.ContainsFunc(n.Links, func(l string) bool { return !slices.Contains(links, l) })
}

func (n Network) anyOn(links []string) bool {
	return slices.ContainsFunc(n.Links, func(l string) bool { return slices.Contains(links, l) })
}

// verdict reports whether a network is local, and says why or why not.
func (a around) verdict(c candidate) (local bool, because string) {
	special := gateway.IsSpecialPrefix(c.Prefix)
	doubt := implausible(c.Prefix, c.anyOn(a.lan))
	switch {
	case len(c.Links) == 0:
		return true, "refused by table main"
	case c.allOn(a.egresses):
		return false, "behind a route's own interface"
	case slices.ContainsFunc(a.exclude, func(p netip.Prefix) bool { return prefixes.Covers(p, c.Prefix) }):
		return true, "in exclude"
	case special && c.connected:
		return true, "connected"
	case special:
		return true, "special use, kernel route in main"
	case !c.connected && c.anyOn(a.wan):
		return false, "leaves by the WAN"
	case !c.connected && !c.allOn(a.lan):
		return false, "leaves by an interface that is not in lan"
	case doubt != "":
		return false, doubt
	case c.connected:
		return true, "connected"
	}
	return true, "kernel route in main, on lan"
}

// implausible says why a network of public addresses cannot be on a link, or "".
func implausible(p netip.Prefix, lan bool) string {
	limit := plausible[gateway.FamilyOf(p.Addr())]
	if lan && p.Bits() < limit.lan {
		return fmt.Sprintf("larger than any network on lan, shorter than /%d", limit.lan)
	}
	if lan {
		return ""
	}
	if p.Bits() < limit.other {
		return fmt.Sprintf("larger than any uplink's network, shorter than /%d", limit.other)
	}
	if i := slices.IndexFunc(publicResolvers, p.Contains); i >= 0 {
		return fmt.Sprintf("no uplink's network holds the public resolver %s", publicResolvers[i])
	}
	return ""
}
