package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
	"github.com/nameroute/nameroute/gateway/policy"
)

// links are the interfaces of this machine.
type links []netlink.Link

func readLinks() (links, error) {
	all, err := nlretry.Dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	return all, nil
}

func (all links) find(name string) netlink.Link {
	i := slices.IndexFunc(all, func(l netlink.Link) bool { return l.Attrs().Name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// missing says that there is no interface of a name, and which one may be meant.
func (all links) missing(name string) string {
	var names []string
	for _, l := range all {
		if l.Attrs().Name != "lo" {
			names = append(names, l.Attrs().Name)
		}
	}
	text := fmt.Sprintf("interface %s does not exist", name)
	if near := problem.Nearest(name, names); near != "" {
		text += ": did you mean " + near + "?"
	}
	return text
}

// masterOf returns the interface that a port's packets come in by, nil where it is no port
// of a bridge, bond or team.
func (all links) masterOf(l netlink.Link) netlink.Link {
	i := slices.IndexFunc(all, func(m netlink.Link) bool {
		return m.Attrs().Index == l.Attrs().MasterIndex && m.Type() != "vrf"
	})
	if l.Attrs().MasterIndex == 0 || i < 0 {
		return nil
	}
	return all[i]
}

// checkLinks checks the interfaces that gateway.yaml names, and the WAN.
func checkLinks(cfg *gateway.Config, r *report) {
	switch _, written := cfg.Positions["lan"]; {
	case len(cfg.LAN) > 0:
	case written:
		r.ok("lan is empty: only this box gets answers")
	default:
		r.warn("%s: lan is empty: only this box gets answers: name the interfaces of your clients, as in lan: [br-lan]", cfg.File)
	}
	all, err := readLinks()
	if err != nil {
		r.unknown("%v: not checked is whether the interfaces of %s exist", err, cfg.File)
		return
	}
	for _, name := range cfg.LAN {
		l := all.find(name)
		switch {
		case l == nil:
			r.warn("lan: %s (it is used as soon as it appears)", all.missing(name))
			continue
		case l.Attrs().RawFlags&unix.IFF_UP == 0:
			r.warn("lan: interface %s is down: its clients are not answered: ip link set %s up", name, name)
		}
		if prefixes, err := addressesOf(l); err == nil && len(prefixes) == 0 && all.masterOf(l) == nil {
			r.warn("lan: interface %s has no address, so its clients have none to query: ip addr add ADDRESS/24 dev %s", name, name)
		}
		if m := all.masterOf(l); m != nil {
			r.warn("lan: interface %s is a port of the %s %s, by which its clients' packets come in: they are not answered: write lan: [%s]", name, m.Type(), m.Attrs().Name, m.Attrs().Name)
		}
	}
	for _, route := range cfg.Routes {
		if k := route.Egress.Kind; k == gateway.EgressWireGuard || route.Egress.Link == "" {
			continue
		}
		if l := all.find(route.Egress.Link); l == nil {
			r.warn("route %s: %s (the route is down until it appears)", route.Name, all.missing(route.Egress.Link))
		} else if m := all.masterOf(l); m != nil {
			r.warn("route %s: interface %s is a port of the %s %s, by which its packets go: write interface: %s", route.Name, route.Egress.Link, m.Type(), m.Attrs().Name, m.Attrs().Name)
		}
	}
	checkNextHops(cfg, r)
	checkGateways(cfg, all, r)
	checkGroups(cfg, r)
	checkPrograms(cfg, r)
	checkProbes(cfg, r)
	checkWAN(cfg, all, r)
	checkOthers(cfg, all, r)
}

// checkWAN checks that there is a WAN, and that it is not a route's egress.
func checkWAN(cfg *gateway.Config, all links, r *report) {
	defaults, err := policy.WANDefaults(cfg)
	if err != nil {
		r.unknown("the WAN's default route cannot be read: %v", err)
		return
	}
	checkUplinks(cfg, all, policy.LinksOf(defaults), r)
	if len(defaults) > 0 {
		var lines []string
		for _, d := range defaults {
			lines = append(lines, d.String())
		}
		r.ok("WAN: %s", strings.Join(lines, ", "))
		if note := members.OnlyByMetric(cfg, defaults); note != "" {
			r.ok("wan: %s", note)
		}
		checkOtherUplinks(cfg, all, r)
		return
	}
	if cfg.WANLink != "" && all.find(cfg.WANLink) == nil {
		r.warn("wan: %s (it is used as soon as it appears)", all.missing(cfg.WANLink))
		return
	}
	// Without routes, the WAN is every default of table main.
	bare := *cfg
	bare.Routes, bare.WANLink = nil, ""
	others, err := policy.WANDefaults(&bare)
	by := policy.LinksOf(others)
	for _, route := range cfg.Routes {
		if slices.Contains(by, route.Egress.Link) && route.Egress.Kind == gateway.EgressInterface {
			r.wrong(exit.Host, config.ProblemAt(cfg, "routes."+route.Name+".interface", route.Egress.Link, "is the interface of the default route, so that there is no WAN",
				"want next_hop: for another router on the WAN's network, or wan: with the interface of the WAN if that is another one"))
			return
		}
	}
	switch {
	case err == nil && len(by) > 0 && cfg.WANLink != "":
		r.warn("wan: table main has no default route via %s, but via %s: names on no list have no way out until it has one", cfg.WANLink, strings.Join(by, ", "))
	default:
		r.warn("the WAN has no default route; it is used as soon as it appears")
	}
}

// checkOtherUplinks says that an uplink is not followed because gateway.yaml names another
// one. The default of a tunnel is another program's business.
func checkOtherUplinks(cfg *gateway.Config, all links, r *report) {
	if cfg.WANLink == "" {
		return
	}
	free := *cfg
	free.WANLink = ""
	defaults, err := policy.WANDefaults(&free)
	if err != nil {
		return // the one that is followed could be read
	}
	for _, name := range policy.LinksOf(defaults) {
		l := all.find(name)
		if name == cfg.WANLink || l != nil && (l.Type() == "tun" || l.Type() == "tuntap" || l.Type() == "wireguard") {
			continue
		}
		r.warn("wan: table main has a default route via %s, too, which is not followed: tunnels and the WAN's queries do not use it when %s fails, and connections that come in by it are answered via %s: write wan: [%s, %s], which probes both, or wan: auto, which follows the metrics of table main, or make it a route: interface: %s",
			name, cfg.WANLink, cfg.WANLink, cfg.WANLink, name, name)
	}
}

// checkOthers finds networks of this box that are not answered, because they are not part of
// lan. Those of bridges have containers or virtual machines.
func checkOthers(cfg *gateway.Config, all links, r *report) {
	for _, l := range all {
		name := l.Attrs().Name
		if name == "lo" || slices.Contains(policy.EgressLinks(cfg), name) || slices.Contains(cfg.LAN, name) || name == cfg.WANLink || l.Attrs().RawFlags&unix.IFF_UP == 0 {
			continue
		}
		networks := privateNetworks(name)
		if len(networks) == 0 || slices.ContainsFunc(cfg.LAN, func(lan string) bool { return slices.Equal(privateNetworks(lan), networks) }) {
			continue
		}
		defaults, err := policy.WANDefaults(cfg)
		if err != nil || slices.Contains(policy.LinksOf(defaults), name) {
			continue
		}
		if l.Type() != "bridge" {
			if networks = slices.DeleteFunc(networks, func(n string) bool { return strings.HasSuffix(n, "/32") }); len(networks) == 0 {
				continue // a tunnel of another program
			}
			r.ok("%s (%s) is not in lan: clients on it, if there are any, get no answers from this box", name, strings.Join(networks, ", "))
			continue
		}
		r.warn("%s (%s) is not in lan: containers, machines or clients on it get no answers from this box: add it to lan: in %s, or give them another resolver", name, strings.Join(networks, ", "), cfg.File)
	}
}

// addressesOf returns the addresses of an interface, without those that are valid on its
// link alone.
func addressesOf(l netlink.Link) ([]netip.Prefix, error) {
	all, err := nlretry.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	var out []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.IPNet.String()); err == nil && !(p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()) {
			out = append(out, p)
		}
	}
	return out, err
}

// connected is an address of this box with its network.
type connected struct {
	link   string
	own    netip.Addr
	prefix netip.Prefix
}

// connectedNetworks returns the networks that this box has addresses in. The rest of
// 127.0.0.0/8 is this box, too.
func connectedNetworks() ([]connected, error) {
	all, err := readLinks()
	if err != nil {
		return nil, err
	}
	addrs, err := nlretry.Dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("ip address: %w", err)
	}
	var out []connected
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.IPNet.String())
		i := slices.IndexFunc(all, func(l netlink.Link) bool { return l.Attrs().Index == a.LinkIndex })
		if err == nil && i >= 0 {
			out = append(out, connected{all[i].Attrs().Name, p.Addr(), p.Masked()})
		}
	}
	return out, nil
}
