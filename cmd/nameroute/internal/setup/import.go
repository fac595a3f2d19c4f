package setup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
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
