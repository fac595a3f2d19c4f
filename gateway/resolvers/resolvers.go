// Package resolvers finds the resolvers of a route: those that gateway.yaml names for the WAN,
// else those that the links which the route's packets leave by were given, as DHCP clients, PPP
// daemons and router advertisements have recorded it. Resolvers that one link was given are not
// queried through another. The box itself is never one of them, because the query would loop.
package resolvers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// maxServers bounds the resolvers that are taken of one route. No link gives more than a
// few, and each costs sockets.
const maxServers = 16

// Found describes the resolvers of a route.
type Found struct {
	Servers []netip.AddrPort // in the order in which to query them
	Source  string           // where they are from: "dhcpcd on wan0, FILE", or a file that names no interface
	Handed  []netip.AddrPort // those that the route's links were given, whatever Servers are
	Links   []string         // interfaces that the route's packets leave by now; none: not known
	Self    string           // "FILE:LINE: nameserver ADDRESS" where resolv.conf names this box; ""
}

// Find returns the resolvers that are queried via the WAN. Its error names what it
// found instead and what to write into gateway.yaml; Found.Self is set then, too.
func Find(cfg *gateway.Config) (Found, error) {
	states, err := policy.Routes(cfg)
	if err != nil {
		return Found{}, err
	}
	return Of(cfg, cfg.WANRoute(), states[gateway.WAN])
}

// Of returns the resolvers of a route without a provider's file, given its state.
func Of(cfg *gateway.Config, r gateway.Route, state policy.RouteState) (Found, error) {
	b, err := read("")
	if err != nil {
		return Found{}, err
	}
	return b.of(cfg, r, state)
}

// All returns the resolvers of all routes without a provider's file, by name; its error says why
// the WAN has none.
func All(cfg *gateway.Config, states map[string]policy.RouteState) (map[string]Found, error) {
	b, err := read("")
	if err != nil {
		return nil, err
	}
	all := map[string]Found{}
	for _, r := range cfg.Routes {
		if r.Egress.Kind == gateway.EgressInterface || r.Egress.Kind == gateway.EgressNextHop {
			all[r.Name], _ = b.of(cfg, r, states[r.Name]) // without any, queries fail and say so
		}
	}
	all[gateway.WAN], err = b.of(cfg, cfg.WANRoute(), states[gateway.WAN])
	return all, err
}

func (b *box) of(cfg *gateway.Config, r gateway.Route, state policy.RouteState) (Found, error) {
	if r.Name != gateway.WAN {
		links := activeLinks(r, state)
		found := b.handed(links).found()
		found.Links = links.Links()
		if found.Handed = found.Servers; len(found.Servers) == 0 {
			return found, fmt.Errorf("route %s: no resolver is known: %s", r.Name, nothingOn(links))
		}
		return found, nil
	}
	links := ActiveOf(state.Defaults)
	if len(links.Links()) == 0 {
		defaults, err := policy.WANDefaults(cfg)
		if err != nil {
			return Found{}, err
		}
		links = ActiveOf(defaults) // the WAN's table follows them
	}
	return b.ofWAN(cfg, links)
}

// activeLinks returns the interfaces that a route's packets leave by, of both families
// where the route is one interface: what is on the link is reached without a default.
func activeLinks(r gateway.Route, state policy.RouteState) Active {
	if r.Egress.Link != "" {
		return Active{V4: []string{r.Egress.Link}, V6: []string{r.Egress.Link}}
	}
	return ActiveOf(state.Defaults)
}

func nothingOn(links Active) string {
	if all := links.Links(); len(all) > 0 {
		return strings.Join(all, ", ") + " was given none by DHCP, PPP or router advertisements"
	}
	return "it has no interface now"
}

// ofWAN returns the resolvers of the WAN, whose packets leave by these links.
func (b *box) ofWAN(cfg *gateway.Config, links Active) (Found, error) {
	known := links.Links()
	if len(known) == 0 {
		links = b.candidates(cfg)
	}
	handed := b.handed(links)
	found := handed.found()
	found.Handed, found.Links, found.Self = found.Servers, known, b.self()
	switch {
	case len(cfg.WANResolvers) > 0:
		found.Servers, found.Source = cfg.WANResolvers, cfg.File
	case cfg.WANHanded:
		if len(found.Servers) == 0 {
			return found, fmt.Errorf("no resolver of the WAN is known: wan_resolvers: dhcp: %s", nothingOn(links))
		}
	default:
		all := slices.Concat(handed, b.unnamed(links, handed)).found()
		found.Servers, found.Source = all.Servers, all.Source
	}
	if len(found.Servers) == 0 {
		return found, b.unknown(cfg)
	}
	return found, nil
}

// candidates returns the interfaces that may be the WAN's while it has no default.
func (b *box) candidates(cfg *gateway.Config) Active {
	var links []string
	egresses := policy.EgressLinks(cfg)
	for _, link := range b.links {
		if cfg.WANLink == "" && link != "lo" && !slices.Contains(cfg.LAN, link) && !slices.Contains(egresses, link) || link == cfg.WANLink {
			links = append(links, link)
		}
	}
	slices.Sort(links)
	return Active{V4: links, V6: links}
}

// entries are what was found, in the order in which to query.
type entries []entry

func (all entries) found() Found {
	var f Found
	var from []string
	for _, e := range all {
		if len(f.Servers) == maxServers {
			break
		}
		if slices.Contains(f.Servers, e.server) {
			continue
		}
		f.Servers = append(f.Servers, e.server)
		if where := e.from(); !slices.Contains(from, where) {
			from = append(from, where)
		}
	}
	f.Source = strings.Join(from, ", ")
	return f
}

// handed returns what the links were given, of each family by the first source that has
// any. A resolver of a family whose packets leave by other links is not among them, but for
// one on the link itself.
func (b *box) handed(links Active) entries {
	var out entries
	for _, link := range links.Links() {
		first := map[gateway.Family]int{}
		for _, e := range b.entries {
			f := gateway.FamilyOf(e.server.Addr())
			if e.link != link || b.isSelf(e.server.Addr()) {
				continue
			}
			if others := links.Of(f); len(others) > 0 && !slices.Contains(others, link) && !e.server.Addr().IsLinkLocalUnicast() {
				continue
			}
			if _, ok := first[f]; !ok {
				first[f] = e.rank
			}
			if e.rank == first[f] {
				out = append(out, e)
			}
		}
	}
	return out
}

// unnamed returns what the first file that names no interface has of the families that no
// link was given a resolver of, without what another link was given.
func (b *box) unnamed(links Active, handed entries) entries {
	var out entries
	mine := links.Links()
	given := func(e entry, is func(link string) bool) bool {
		return slices.ContainsFunc(b.entries, func(o entry) bool { return o.link != "" && is(o.link) && o.server.Addr() == e.server.Addr() })
	}
	for _, e := range b.entries {
		f := gateway.FamilyOf(e.server.Addr())
		another := func(link string) bool { return !slices.Contains(mine, link) }
		same := func(o entry) bool { return gateway.FamilyOf(o.server.Addr()) == f }
		switch {
		case e.link != "" || b.isSelf(e.server.Addr()) || slices.ContainsFunc(handed, same):
		case given(e, another) && !given(e, func(link string) bool { return !another(link) }):
		case len(out) == 0 || out[0].rank == e.rank:
			out = append(out, e)
		}
	}
	return out
}

func (b *box) isSelf(a netip.Addr) bool {
	return a.IsLoopback() || a.IsUnspecified() || b.own[a.WithZone("")]
}

// self returns the entry of resolv.conf that is this box, as an error quotes it.
func (b *box) self() string {
	for _, e := range b.entries {
		if e.file == resolvConf && b.isSelf(e.server.Addr()) {
			return e.String()
		}
	}
	return ""
}

// resolvedStubs are the addresses of systemd-resolved's stub listeners.
var resolvedStubs = []string{"nameserver 127.0.0.53", "nameserver 127.0.0.54"}

func (b *box) unknown(cfg *gateway.Config) error {
	file := cfg.File
	if file == "" {
		file = gateway.DefaultFile
	}
	what, self := resolvConf+": names no resolver", b.self()
	switch {
	case slices.ContainsFunc(resolvedStubs, func(stub string) bool { return strings.HasSuffix(self, ": "+stub) }):
		what = self + ": is systemd-resolved's stub, which has no resolver of the WAN either"
	case self != "":
		what = self + ": is this box, which cannot query itself"
	}
	return fmt.Errorf("no resolver of the WAN is known: %s: set `wan_resolvers: [ADDRESS]` in %s", what, file)
}
