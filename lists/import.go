package lists

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// Import is a dnsmasq configuration in nameroute's words.
type Import struct {
	Gateway  string            // gateway.yaml
	Corefile string            // the Corefile
	Lists    map[string]string // lists in dnsmasq's format, by the name of their file
	Names    int               // names on them
	Lost     []Loss            // lines that could not be carried over
	Notes    []string          // what the user has to look at
}

// class is what a configuration does with a name.
type class struct {
	route     string // "" for the WAN
	device    string // the interface that a resolver's '@' tells of
	resolvers string // separated by spaces; "" asks the usual ones
}

// ImportDnsmasq reads dnsmasq configuration files, and those that they name, and says
// in nameroute's two files and lists what their server=, ipset= and nftset= lines say.
// dir is where the lists will be. A set becomes a route; which tunnel it leads to is
// not dnsmasq's to know, and is noted. The longest name counts, as in dnsmasq.
func ImportDnsmasq(dir string, files ...string) (*Import, error) {
	c := &dnsmasqConf{
		servers: map[string][]string{}, sets: map[string][]string{},
		seen: map[string]bool{},
	}
	for _, f := range files {
		if err := c.read(f); err != nil {
			return nil, fmt.Errorf("import %s: %w", f, err)
		}
	}
	i := &Import{Lists: map[string]string{}, Lost: c.lost}
	classes, order := c.classes()
	if len(order) == 0 {
		return nil, fmt.Errorf("import %s: no line sends a name to a resolver or a set", strings.Join(files, ", "))
	}
	names := i.listNames(order)
	for _, k := range order {
		i.writeList(names[k], classes, k)
	}
	i.writeGateway(dir, order, names)
	i.writeCorefile(c, order, names)
	return i, nil
}

// classes gives every name that is named its class, and the classes that are none
// of doing as usual, in a fixed order.
func (c *dnsmasqConf) classes() (of map[string]class, order []class) {
	of = map[string]class{}
	for _, m := range []map[string][]string{c.servers, c.sets} {
		for name := range m {
			servers, _ := longest(c.servers, name)
			sets, _ := longest(c.sets, name)
			k := class{route: routeOf(sets)}
			var addresses []string
			for _, s := range servers {
				address, device, _ := strings.Cut(s, "@")
				addresses = append(addresses, address)
				if k.route != "" && k.device == "" {
					k.device = device
				}
			}
			k.resolvers = strings.Join(addresses, " ")
			of[name] = k
		}
	}
	for _, k := range of {
		if k != (class{}) && !slices.Contains(order, k) {
			order = append(order, k)
		}
	}
	slices.SortFunc(order, func(a, b class) int {
		return strings.Compare(a.route+" "+a.resolvers+" "+a.device, b.route+" "+b.resolvers+" "+b.device)
	})
	return of, order
}

// longest finds what the longest of the names above says.
func longest[T any](m map[string]T, name string) (v T, ok bool) {
	for {
		if v, ok = m[name]; ok {
			return v, true
		}
		_, above, found := strings.Cut(name, ".")
		if !found {
			return v, false
		}
		name = above
	}
}

// routeOf makes a route's name of sets: vpn of vpn4 and vpn6, and of 4#inet#fw4#vpn4.
func routeOf(sets []string) string {
	var words []string
	for _, s := range sets {
		s = strings.TrimRight(strings.ToLower(s[strings.LastIndexByte(s, '#')+1:]), "46")
		if s = strings.TrimRight(word(s), "-_"); !slices.Contains(words, s) {
			words = append(words, s)
		}
	}
	slices.Sort(words)
	return trimName(strings.Join(words, "-"))
}

// word keeps what names of routes and lists may have.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, s)
	if s == "" || s[0] < 'a' || s[0] > 'z' || gateway.Reserved(s) {
		s = "set-" + s
	}
	return s
}

func trimName(s string) string { return s[:min(len(s), gateway.MaxNameLen-4)] }

// listNames names a list for each class: after its route, or "direct".
func (i *Import) listNames(order []class) map[class]string {
	names, taken := map[class]string{}, map[string]int{}
	for _, k := range order {
		name := k.route
		if name == "" {
			name = "direct"
		}
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s-%d", name, taken[name])
		}
		names[k] = name
	}
	return names
}

// writeList writes a class's names, and as exceptions the names below them that
// belong to others.
func (i *Import) writeList(list string, of map[string]class, k class) {
	mine := map[string]bool{}
	for name, c := range of {
		if c == k {
			mine[name] = true
		}
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if mine[name] {
			fmt.Fprintf(&b, "server=/%s/\n", name)
			i.Names++
		} else if _, below := longest(mine, name); below {
			fmt.Fprintf(&b, "server=/%s/#\n", name)
		}
	}
	i.Lists[list+".conf"] = b.String()
}

func (i *Import) writeGateway(dir string, order []class, names map[class]string) {
	var b strings.Builder
	b.WriteString("# Made of a dnsmasq configuration. Look at every line.\n# lan: [br-lan]\nwan: auto\n")
	if routes := i.devices(order); len(routes) > 0 {
		b.WriteString("routes:\n")
		for _, route := range slices.Sorted(maps.Keys(routes)) {
			fmt.Fprintf(&b, "  %s:\n    interface: %s   # or wireguard: FILE, as the provider gave it\n    on_down: block\n", route, routes[route])
		}
	}
	b.WriteString("lists:\n")
	for _, k := range order {
		fmt.Fprintf(&b, "  %s:\n    file: %s/%s.conf\n    format: dnsmasq\n", names[k], dir, names[k])
	}
	i.Gateway = b.String()
	i.Notes = append(i.Notes, "lan: name the interfaces whose clients are served")
}

// devices gives each route an interface of its own: that by which its resolvers were
// asked, or else a guess, which is noted.
func (i *Import) devices(order []class) map[string]string {
	routes, taken := map[string]string{}, map[string]bool{}
	for _, k := range order {
		if k.route != "" && routes[k.route] == "" && !taken[k.device] {
			routes[k.route] = k.device
			taken[k.device] = k.device != ""
		}
	}
	for _, k := range order {
		if k.route == "" || routes[k.route] != "" {
			continue
		}
		for n := 0; routes[k.route] == ""; n++ {
			if guess := fmt.Sprint("wg", n); !taken[guess] {
				routes[k.route], taken[guess] = guess, true
			}
		}
		i.Notes = append(i.Notes, fmt.Sprintf("route %s: dnsmasq does not say where its set leads; %s is a guess. "+
			"Until that interface is there, the names are blocked", k.route, routes[k.route]))
	}
	return routes
}

func (i *Import) writeCorefile(c *dnsmasqConf, order []class, names map[class]string) {
	var b strings.Builder
	for _, k := range order {
		fmt.Fprintf(&b, ". {\n    listed %s\n", names[k])
		route := gateway.WAN
		if k.route != "" {
			route = k.route
			fmt.Fprintf(&b, "    route %s\n", route)
		}
		resolvers := strings.Fields(k.resolvers)
		if len(resolvers) == 0 {
			resolvers = c.usual
		}
		fmt.Fprintf(&b, "    cache\n%s    upstream %s\n}\n", c.manners.rebindLines(), strings.Join(append([]string{askedBy(route, resolvers)}, resolvers...), " "))
	}
	fmt.Fprintf(&b, ". {\n    cache\n%s%s    upstream %s\n}\n", c.manners.homeLine(), c.manners.rebindLines(), strings.Join(append([]string{gateway.WAN}, c.usual...), " "))
	i.Corefile = b.String()
}

// askedBy is the route by which resolvers are asked: one at home by none but the WAN,
// whose policy rules leave local networks alone.
func askedBy(route string, resolvers []string) string {
	for _, r := range resolvers {
		a, err := netip.ParseAddrPort(r)
		addr := a.Addr()
		if err != nil {
			if addr, err = netip.ParseAddr(r); err != nil {
				return route
			}
		}
		if !addr.IsLoopback() && !addr.IsPrivate() && !addr.IsLinkLocalUnicast() {
			return route
		}
	}
	if len(resolvers) == 0 {
		return route
	}
	return gateway.WAN
}
