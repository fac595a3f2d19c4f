package setup

import (
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

// ImportDnsmasq writes gateway.yaml, a Corefile and lists that do what the server=, ipset=
// and nftset= lines of a dnsmasq configuration do, and prints what is not carried over.
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
	if len(i.lists) == 0 {
		return nil, fmt.Errorf("import %s: no line sends a name to a resolver or a set", strings.Join(files, ", "))
	}
	return i, nil
}

// translate returns the configuration as nameroute's files.
func (c *dnsmasqConf) translate(dir string) *imported {
	i := &imported{lists: map[string]string{}, lost: c.lost}
	classes, order := c.classes()
	names := listNames(order)
	for _, k := range order {
		i.addList(names[k], classes, k)
	}
	i.gateway = i.gatewayFile(dir, order, names).String()
	i.corefile = c.corefile(order, names)
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

func (i *imported) gatewayFile(dir string, order []class, names map[class]string) gatewayFile {
	g := gatewayFile{head: "Imported from dnsmasq. Check every line.\n"}
	devices := i.devices(order)
	for _, route := range slices.Sorted(maps.Keys(devices)) {
		g.routes = append(g.routes, routeEntry{name: route, link: devices[route], egressComment: "or wireguard: FILE, as the provider gave it"})
	}
	for _, k := range order {
		g.lists = append(g.lists, listEntry{name: names[k], file: filepath.Join(dir, names[k]+".conf"), format: "dnsmasq"})
	}
	i.notes = append(i.notes, "lan: name the interfaces whose clients are served")
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

func (c *dnsmasqConf) corefile(order []class, names map[class]string) string {
	var blocks [][]directive
	for _, k := range order {
		b := []directive{{text: "listed " + names[k]}}
		route := gateway.WAN
		if k.route != "" {
			route = k.route
			b = append(b, directive{text: "route " + route})
		}
		resolvers := strings.Fields(k.resolvers)
		if len(resolvers) == 0 {
			resolvers = c.usual
		}
		b = append(b, cacheDirective(""))
		b = append(b, c.local.rebindDirectives()...)
		blocks = append(blocks, append(b, upstream(viaRoute(route, resolvers), resolvers)))
	}
	last := slices.Concat([]directive{cacheDirective("")}, c.local.homeDirectives(), c.local.rebindDirectives(), []directive{upstream(gateway.WAN, c.usual)})
	return corefileText("Imported from dnsmasq. Check every line.\n", append(blocks, last)...)
}

func upstream(route string, resolvers []string) directive {
	return directive{text: strings.Join(append([]string{"upstream", route}, resolvers...), " ")}
}

// viaRoute returns the route through which resolvers are queried. Resolvers in local
// networks are queried via the WAN, whose policy rules leave those networks alone.
func viaRoute(route string, resolvers []string) string {
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
