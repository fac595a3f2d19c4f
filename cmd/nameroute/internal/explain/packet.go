package explain

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/gateway/pkg/routeget"
	"github.com/nameroute/nameroute/gateway/policy"
)

// egress is a route's way out: for a group that of the member that new flows take.
type egress struct {
	gateway.Route
	state policy.RouteState
	named string // the route of gateway.yaml, which may be the group
}

// egressOf finds the way that new flows of a route take.
func (l *look) egressOf(name string) egress {
	route, _ := l.cfg.Route(name)
	w := egress{route, l.states[name], name}
	for _, r := range l.status.Routes {
		if r.Name != name {
			continue
		}
		for _, m := range r.Members {
			for _, member := range l.cfg.Members(route) {
				if m.InForce && member.Name == m.Name {
					return egress{member, l.states[name], name}
				}
			}
		}
	}
	return w
}

// packetTo finds out what becomes of the first packet of a new flow to an address.
func (l *look) packetTo(a Address, h Held) (p Packet) {
	var marked bool
	p.Route, p.By, marked = l.decide(a.Address, h)
	w := l.egressOf(p.Route)
	ask := routeget.Packet{To: a.Address, From: l.client.source(gateway.FamilyOf(a.Address)), Iif: l.client.iif, Protocol: unix.IPPROTO_TCP, Dport: l.port()}
	if l.client.iif == 0 {
		ask.From = netip.Addr{}
	}
	if marked {
		ask.Mark, p.Mark = w.Mark.Value, w.Mark.String()
	}
	got, err := ask.Look()
	if err != nil {
		p.Refused = err.Error()
		return p
	}
	p.Table = got.Table
	if got.Gateway.IsValid() {
		p.Gateway = got.Gateway.String()
	}
	if link, err := net.InterfaceByIndex(got.Link); err == nil {
		p.Link = link.Name
	}
	p.Rule = l.ruleOf(ask, got.Table)
	p.Passes = !marked || p.Route == gateway.WAN || slices.Contains(w.state.Links, p.Link)
	p.SNAT = l.sourceNAT(w, p, gateway.FamilyOf(a.Address))
	p.Others = l.others(p, gateway.FamilyOf(a.Address))
	return p
}

// port is the one that is asked about.
func (l *look) port() uint16 {
	if l.doc.Port != 0 {
		return l.doc.Port
	}
	return 443
}

// ruleOf returns the policy rule by which the kernel came to a table.
func (l *look) ruleOf(p routeget.Packet, table int) string {
	family := netlink.FAMILY_V4
	if p.To.Is6() {
		family = netlink.FAMILY_V6
	}
	rules, err := nlretry.Dump(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
	l.problem("ip rule", err)
	for _, r := range rules {
		mask := uint32(0xffffffff)
		if r.Mask != nil {
			mask = *r.Mask
		} else if r.Mark == 0 {
			mask = 0
		}
		if r.Table != table || !r.Invert && p.Mark&mask != r.Mark || r.IifName != "" && r.IifName != l.client.Link || r.Src != nil && !r.Src.Contains(p.From.AsSlice()) {
			continue
		}
		return fmt.Sprintf("%d: %s", r.Priority, policy.RuleText(r))
	}
	return ""
}

// sourceNAT says what becomes of the source address.
func (l *look) sourceNAT(w egress, p Packet, f gateway.Family) string {
	switch {
	case w.Name == gateway.WAN || !slices.Contains(w.state.Links, p.Link):
		return "by the firewall of this box, if it has source NAT on " + p.Link
	case w.SNAT.Mode == gateway.SNATOff:
		return "off"
	case w.SNAT.Mode == gateway.SNATMasquerade || w.Egress.Kind != gateway.EgressWireGuard && len(w.SNAT.Addrs) == 0:
		return "masquerade as the address of " + p.Link
	}
	for _, a := range w.SNAT.Addrs {
		if gateway.FamilyOf(a) == f {
			return "to " + a.String()
		}
	}
	link, err := net.InterfaceByName(p.Link)
	if err != nil {
		return ""
	}
	addrs, _ := link.Addrs()
	for _, text := range addrs {
		if n, err := netip.ParsePrefix(text.String()); err == nil && gateway.FamilyOf(n.Addr()) == f && !n.Addr().IsLinkLocalUnicast() {
			return "to " + n.Addr().String()
		}
	}
	return "" // the tunnel has no address of the family
}

// others finds the rules of other programs that such a packet meets.
func (l *look) others(p Packet, f gateway.Family) (all []string) {
	for _, d := range l.diversions(p.Route) {
		if d.Family == f && d.Link == p.Link {
			all = append(all, d.String())
			l.foundDiversion(d)
		}
	}
	rules, err := nftsim.Read()
	if err != nil {
		l.problem("rules of other programs", err)
		return all
	}
	hook, flow := *nftables.ChainHookForward, nftsim.Flow{In: l.client.Link, Out: p.Link, IPv6: f == gateway.V6, Proto: unix.IPPROTO_TCP, Port: l.port()}
	if l.client.iif == 0 {
		hook = *nftables.ChainHookOutput
	}
	if c := rules.Drops(hook, flow); c != nil {
		name := "chain " + c.String()
		if who := rules.Manager(c.Key); who != "" {
			name += " of " + who
		}
		all = append(all, name+" drops it")
		from := "of this box"
		if l.client.Link != "" {
			from = "from " + l.client.Link
		}
		l.find(CodeOtherFirewall, "%s drops packets %s that leave by %s", name, from, p.Link)
		l.remedy(CodeOtherFirewall, fmt.Sprintf("have the firewall accept what goes %s to %s: a rule in %s before those that drop it", from, p.Link, c),
			fmt.Sprintf("nft insert rule %s %s oifname %s accept", c, ifIn(l.client.Link), p.Link))
	}
	return all
}

// diversions are policy rules of other programs that decide about packets of a route.
func (l *look) diversions(route string) []policy.Diversion {
	all, err := policy.Diversions(l.cfg)
	l.problem("policy rules of other programs", err)
	return slices.DeleteFunc(all, func(d policy.Diversion) bool { return !slices.Contains(d.Routes, route) })
}

func (l *look) foundDiversion(d policy.Diversion) {
	l.find(CodeOtherRule, "%s", d)
	l.remedy(CodeOtherRule, "remove the policy rule of the other program", fmt.Sprintf("ip -%d rule del priority %d", d.Family, d.Priority))
}

func ifIn(link string) string {
	if link == "" {
		return ""
	}
	return "iifname " + link
}

// decide finds the route of a new flow as the nft table does, and whether it is marked.
func (l *look) decide(a netip.Addr, h Held) (route, by string, marked bool) {
	if h.Excluded {
		return gateway.WAN, "never rerouted: " + l.whyLocal(a), false
	}
	if r, ok := l.takesAll(); ok {
		by := fmt.Sprintf("clients.%s.route: it takes all that the class sends", l.client.Class)
		if l.fallsBack(r) {
			return gateway.WAN, by + ", is down, and has `on_down: wan`", true
		}
		return r.Name, by, true
	}
	var passed []string
	for _, r := range l.choices() {
		i := slices.IndexFunc(h.In, func(o Holding) bool { return o.Route == r.Name })
		if i < 0 {
			continue
		}
		set := h.In[i].Set
		if !h.In[i].Learned {
			set = r.PrefixSet(gateway.FamilyOf(a))
		}
		switch {
		case gateway.IsSpecial(a) && !r.TakesPrivate():
			continue
		case l.doc.Port != 0 && !r.Match.Holds(gateway.ProtoTCP, l.doc.Port) && !r.Match.Holds(gateway.ProtoUDP, l.doc.Port):
			passed = append(passed, fmt.Sprintf("route %s takes only %s", r.Name, r.Match))
			l.find(CodeMatch, "route %s holds %s, and takes only %s (`match:`)", r.Name, a, r.Match)
			continue
		case l.fallsBack(r):
			return gateway.WAN, fmt.Sprintf("route %s holds it in set %s, is down, and has `on_down: wan`", r.Name, set), true
		}
		by := "set " + set + " holds it"
		if r.Match != nil {
			by += ", for " + r.Match.String()
		}
		return r.Name, by, true
	}
	if r, ok := l.defaultRoute(); ok {
		return r.Name, "default: no set holds it", l.client.iif != 0
	}
	if gateway.IsSpecial(a) {
		passed = append(passed, "it is for special use")
	}
	return gateway.WAN, strings.Join(append(passed, "no set holds it"), "; "), false
}

// takesAll returns the route that takes all that the client's class sends, whatever its destination.
func (l *look) takesAll() (gateway.Route, bool) {
	i := slices.IndexFunc(l.cfg.Clients, func(c gateway.Clients) bool { return c.Name == l.client.Class })
	if i < 0 || l.client.iif == 0 {
		return gateway.Route{}, false
	}
	return l.cfg.Route(l.cfg.Clients[i].Route) // a class without one is of no route
}

func (l *look) defaultRoute() (gateway.Route, bool) {
	if l.client.iif == 0 {
		return l.cfg.BoxDefault()
	}
	return l.cfg.ClientsDefault()
}

// choices are the routes that packets of the client can take, in the order in which the nft
// table tries them: those of its class first.
func (l *look) choices() (all []gateway.Route) {
	for _, r := range l.cfg.Routes {
		if l.client.Class != "" && slices.Contains(r.Clients, l.client.Class) {
			all = append(all, r)
		}
	}
	for _, r := range l.cfg.Choices() {
		if len(r.Clients) == 0 {
			all = append(all, r)
		}
	}
	return all
}

func (l *look) fallsBack(r gateway.Route) bool {
	return r.OnDown == gateway.FallBack && !l.states[r.Name].Up()
}

// whyLocal says why an address is never rerouted.
func (l *look) whyLocal(a netip.Addr) string {
	if slices.Contains(l.own, a) {
		return "an address of this box"
	}
	for i, p := range l.cfg.Exclude {
		if p.Contains(a) {
			at := l.cfg.Positions.Find(fmt.Sprintf("exclude.%d", i))
			return fmt.Sprintf("%s in `exclude`, %s:%d", p, l.cfg.File, at.Line)
		}
	}
	for _, n := range l.local.Networks {
		if n.Prefix.Contains(a) {
			return fmt.Sprintf("%s: %s", n, n.Because)
		}
	}
	return "special use on one link"
}
