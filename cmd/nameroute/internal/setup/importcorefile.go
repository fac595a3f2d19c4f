package setup

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// routesOf returns the routes of devices by their interfaces.
func routesOf(devices map[string]string) map[string]string {
	routes := map[string]string{}
	for route, device := range devices {
		routes[device] = route
	}
	return routes
}

// via returns the route through which the resolver behind an interface is queried, and makes
// one where no set has it: dnsmasq sent these queries by that interface, and so they must go
// on. "" is the WAN.
func (i *imported) via(device string, routes map[string]string) string {
	if device == "" {
		return gateway.WAN
	}
	if route, ok := routes[device]; ok {
		return route
	}
	name := validName(strings.TrimRight(validName(strings.ToLower(device)), "-_"))
	name = name[:min(len(name), gateway.MaxNameLen-3)]
	for _, taken := range routes {
		if taken == name {
			name += "-if"
		}
	}
	routes[device] = name
	i.notes = append(i.notes, fmt.Sprintf("route %s: it is for resolvers that dnsmasq queried by %s; if that is the WAN's interface, write wan instead of %s", name, device, name))
	return name
}

func (c *dnsmasqConf) corefile(i *imported, order []class, names map[class]string, routes map[string]string) string {
	usual, usualDevice := splitDevices(c.usual)
	usualVia := i.via(usualDevice, routes)
	if n := strings.Count(strings.Join(c.usual, " "), "@"+usualDevice); usualDevice != "" && n < len(c.usual) {
		i.notes = append(i.notes, fmt.Sprintf("upstream %s: dnsmasq queried these resolvers by different interfaces; now all are queried through %s", usualVia, usualVia))
	}
	var blocks [][]directive
	for _, r := range c.home.reverse {
		_, device, _ := strings.Cut(r.resolver, "@")
		blocks = append(blocks, []directive{{text: zoneDirective + r.network.String()}, cacheDirective(""), upstream(i.via(device, routes), []string{r.address})})
	}
	for _, k := range order {
		b := []directive{{text: "listed " + names[k]}}
		if k.answer != "" {
			blocks = append(blocks, append(b, answerDirectives(k.answer)...))
			continue
		}
		resolvers, via := strings.Fields(k.resolvers), i.via(k.device, routes)
		if len(resolvers) == 0 {
			resolvers, via = usual, usualVia
		}
		if k.route != "" {
			b = append(b, directive{text: "route " + k.route})
			// The usual resolver in the LAN is that of the WAN's router.
			if via = k.route; len(resolvers) == 0 || k.resolvers == "" && usualDevice == "" && allLocal(resolvers) {
				resolvers = publicEncrypted
				i.notes = append(i.notes, fmt.Sprintf("route %s: dnsmasq queried its names by the WAN's resolvers; now public ones are queried through the route", k.route))
			}
			i.noteLoopback(k.route, resolvers)
		}
		b = append(b, cacheDirective(""))
		b = append(b, c.local.rebindDirectives()...)
		blocks = append(blocks, append(b, upstream(via, resolvers)))
	}
	local, notes := c.home.directives(c.local.local)
	i.notes = append(i.notes, notes...)
	last := slices.Concat([]directive{cacheDirective("")}, local, c.local.rebindDirectives(), []directive{upstream(usualVia, usual)})
	blocks = append(blocks, last)
	for n := range blocks {
		blocks[n] = c.home.listening(blocks[n])
	}
	return corefileText("Imported from dnsmasq. Check every line.\n", blocks...)
}

// noteLoopback notes a resolver of a route that runs on this box: by which way it sends its
// own queries is not known here.
func (i *imported) noteLoopback(route string, resolvers []string) {
	for _, r := range resolvers {
		if resolverAddr(r).IsLoopback() {
			i.notes = append(i.notes, fmt.Sprintf("route %s: %s is a program on this box, whose own queries leave by the WAN unless it binds to the tunnel; "+
				"safer is a resolver behind the tunnel", route, r))
		}
	}
}

// resolverAddr returns the address of a resolver with or without its port; invalid for others.
func resolverAddr(r string) netip.Addr {
	if a, err := netip.ParseAddrPort(r); err == nil {
		return a.Addr()
	}
	a, _ := netip.ParseAddr(r) // the zero Addr with an error
	return a
}

// allLocal reports whether all resolvers are in this box or in local networks.
func allLocal(resolvers []string) bool {
	return !slices.ContainsFunc(resolvers, func(r string) bool {
		a := resolverAddr(r)
		return !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast()
	})
}

// splitDevices returns resolvers without their interfaces, and the first of these.
func splitDevices(all []string) (addresses []string, device string) {
	for _, s := range all {
		address, d, _ := strings.Cut(s, "@")
		addresses = append(addresses, address)
		device = cmp.Or(device, d)
	}
	return addresses, device
}

// answerDirectives returns the lines that answer every name with fixed addresses.
func answerDirectives(answer string) []directive {
	if answer == blocked {
		return []directive{{text: "template ANY ANY .", body: []string{"rcode NXDOMAIN"}}}
	}
	var v4, v6 []string
	for _, text := range strings.Fields(answer) {
		if a, err := netip.ParseAddr(text); err == nil && a.Unmap().Is4() {
			v4 = append(v4, fmt.Sprintf(`answer "{{ .Name }} 60 IN A %s"`, a.Unmap()))
		} else if err == nil {
			v6 = append(v6, fmt.Sprintf(`answer "{{ .Name }} 60 IN AAAA %s"`, a))
		}
	}
	var all []directive
	if len(v4) > 0 {
		all = append(all, directive{text: "template IN A .", body: v4})
	}
	if len(v6) > 0 {
		all = append(all, directive{text: "template IN AAAA .", body: v6})
	}
	return append(all, directive{text: "template ANY ANY .", body: []string{"rcode NOERROR"}})
}

func upstream(route string, resolvers []string) directive {
	return directive{text: strings.Join(append([]string{"upstream", route}, resolvers...), " ")}
}
