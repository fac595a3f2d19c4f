package setup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
)

// ImportOptions are the configuration to import and where its files go.
type ImportOptions struct {
	Files []string // of the configuration
	Dir   string   // of the files to write
	Force bool     // replace files
	Out   io.Writer
}

// ImportDnsmasq writes gateway.yaml, a Corefile and lists that do what a dnsmasq configuration
// does, and prints what is not carried over, with what to do instead.
func ImportDnsmasq(o ImportOptions) error {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	i, err := importDnsmasq(filepath.Join(dir, "lists"), o.Files...)
	if err != nil {
		return err
	}
	written, err := i.write(dir, o.Force)
	for _, f := range written {
		fmt.Fprintf(o.Out, "wrote    %s\n", f)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "ok       %s on %s\n", output.Count(i.names, "name"), output.Count(len(i.lists), "list"))
	for _, n := range i.notes {
		fmt.Fprintf(o.Out, "check    %s\n", n)
	}
	if len(i.notNeeded) > 0 {
		fmt.Fprintf(o.Out, "dropped  not needed here, or done in another way: %s\n", strings.Join(i.notNeeded, ", "))
	}
	for _, l := range i.lost {
		fmt.Fprintf(o.Out, "skipped  %v\n", l)
	}
	return nil
}

// imported is a dnsmasq configuration as nameroute's files.
type imported struct {
	gateway  string
	corefile string
	lists    map[string]string // in dnsmasq's format, by the name of their file
	names    int               // on all lists
	lost     []loss
	notes    []string // what the user has to check

	notNeeded []string // options without a counterpart
}

// importDnsmasq reads dnsmasq configuration files and the files that they name. dir is
// where the lists will be. A set becomes a route. dnsmasq does not know which tunnel the
// set's addresses take, so that is guessed and noted. As in dnsmasq, the longest matching
// name counts.
func importDnsmasq(dir string, files ...string) (*imported, error) {
	c := newDnsmasqConf()
	for _, f := range files {
		if err := c.readFile(f); err != nil {
			return nil, fmt.Errorf("import %s: %w", f, err)
		}
	}
	i := c.translate(dir)
	if len(i.lists) == 0 && len(c.usual)+len(c.home.resolvFiles)+len(c.home.records)+len(c.home.hostsFiles)+len(c.home.reverse) == 0 {
		return nil, fmt.Errorf("import %s: no line sends a name to a resolver or a set", strings.Join(files, ", "))
	}
	return i, nil
}

// translate returns the configuration as nameroute's files.
func (c *dnsmasqConf) translate(dir string) *imported {
	i := &imported{lists: map[string]string{}, lost: c.lost, notNeeded: c.home.notNeeded}
	classes, order := c.classes()
	names := listNames(order)
	for _, k := range order {
		i.addList(names[k], classes, k)
	}
	devices := i.devices(order)
	routes := routesOf(devices)
	g := c.gatewayFile(dir, order, names)
	i.corefile = c.corefile(i, order, names, routes)
	for device, route := range routes {
		devices[route] = device // those of resolvers too
	}
	for _, route := range slices.Sorted(maps.Keys(devices)) {
		g.routes = append(g.routes, routeEntry{name: route, link: devices[route], egressComment: "or wireguard: FILE, as the provider gave it"})
	}
	var notes []string
	g.wanResolvers, notes = c.home.wanResolvers()
	i.notes = append(i.notes, notes...)
	if len(g.lan) == 0 {
		i.notes = append(i.notes, "lan: name the interfaces whose clients are served")
	}
	i.gateway = g.String()
	return i
}

// addList adds a list of a class's names. The names below them that belong to other
// classes are its exceptions.
func (i *imported) addList(list string, of map[string]class, k class) {
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
			i.names++
		} else if _, below := longestMatch(mine, name); below {
			fmt.Fprintf(&b, "server=/%s/#\n", name)
		}
	}
	i.lists[list+".conf"] = b.String()
}

func (c *dnsmasqConf) gatewayFile(dir string, order []class, names map[class]string) gatewayFile {
	g := gatewayFile{head: "Imported from dnsmasq. Check every line.\n", lan: c.home.lan}
	for _, k := range order {
		g.lists = append(g.lists, listEntry{name: names[k], file: filepath.Join(dir, names[k]+".conf"), format: "dnsmasq"})
	}
	return g
}

// devices returns the interface of each route: the one through which its resolvers were
// queried, or else a guess, which is noted.
func (i *imported) devices(order []class) map[string]string {
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
		i.notes = append(i.notes, fmt.Sprintf("route %s: dnsmasq does not say where the set's addresses go; %s is a guess. "+
			"Until that interface exists, the names are blocked", k.route, routes[k.route]))
	}
	return routes
}

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
			if via = k.route; len(resolvers) == 0 {
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
	return corefileText("Imported from dnsmasq. Check every line.\n", append(blocks, last)...)
}

// noteLoopback notes a resolver of a route that runs on this box: by which way it sends its
// own queries is not known here.
func (i *imported) noteLoopback(route string, resolvers []string) {
	for _, r := range resolvers {
		a, err := netip.ParseAddrPort(r)
		addr := a.Addr()
		if err != nil {
			addr, err = netip.ParseAddr(r)
		}
		if err == nil && addr.IsLoopback() {
			i.notes = append(i.notes, fmt.Sprintf("route %s: %s is a program on this box, whose own queries leave by the WAN unless it binds to the tunnel; "+
				"safer is a resolver behind the tunnel", route, r))
		}
	}
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

// write writes all files or, where one exists already, none.
func (i *imported) write(dir string, force bool) (written []string, err error) {
	files := map[string]string{"gateway.yaml": i.gateway, "Corefile": i.corefile}
	for name, text := range i.lists {
		files[filepath.Join("lists", name)] = text
	}
	names := slices.Sorted(maps.Keys(files))
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) && !force {
			return nil, fmt.Errorf("%s: already exists; --force replaces it", filepath.Join(dir, name))
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "lists"), 0o755); err != nil {
		return nil, err
	}
	for _, name := range names {
		file := filepath.Join(dir, name)
		if err := renameio.WriteFile(file, []byte(files[name]), 0o644); err != nil {
			return written, err
		}
		written = append(written, file)
	}
	return written, nil
}
