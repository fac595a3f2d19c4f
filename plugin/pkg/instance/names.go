package instance

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// name is a route or a list that a directive names.
type name struct {
	directive string
	what      string // list or route
	name      string
	at        corefile.Position
	foreign   bool // it learns into sets of another program
}

// check finds routes and lists that the instance names and a gateway.yaml lacks.
func (i *instance) check(cfg *gateway.Config) error {
	var errs []error
	for _, b := range i.blocks {
		errs = append(errs, checkNames(b.names, b.class, cfg)...)
	}
	return errors.Join(append(errs, checkPrograms(i.answering(), cfg)...)...)
}

// CheckNames finds the routes and lists that a parsed block names and a gateway.yaml lacks,
// as a start would. A directive with a gateway.yaml of its own is checked against that.
func CheckNames(b corefile.Block, cfg *gateway.Config) (errs []error) {
	check := func(file string, names ...name) {
		of, err := configOf(b, file, cfg)
		if err != nil {
			errs = append(errs, err)
			return
		}
		errs = append(errs, checkNames(names, b.Class(), of)...)
	}
	if k := b.Clients; k != nil {
		check(k.Config, name{"clients", "class of clients", k.Class, k.Position, false})
	}
	if l := b.Listed; l != nil {
		var names []name
		for _, list := range l.Lists {
			names = append(names, name{"listed", "list", list, l.Position, false})
		}
		check(l.Config, names...)
	}
	if r := b.Route; r != nil {
		check(r.Config, name{"route", "route", r.Name, r.Position, r.Foreign})
	}
	if u := b.Upstream; u != nil {
		check(u.Config, name{"upstream", "route", u.Route, u.Position, false})
	}
	return errs
}

// configOf returns the gateway.yaml that a directive of a block names, or the default one.
func configOf(b corefile.Block, file string, standard *gateway.Config) (*gateway.Config, error) {
	if file == "" {
		return standard, nil
	}
	if !filepath.IsAbs(file) {
		for _, d := range b.Directives {
			if d.Name == "root" && len(d.Args) > 0 {
				file = filepath.Join(d.Args[0], file)
			}
		}
	}
	if resolve(file) == resolve(standard.File) {
		return standard, nil
	}
	return config.Load(file)
}

// checkNames checks the names of a block that is for a class of clients, or "" for all.
func checkNames(names []name, class string, cfg *gateway.Config) (errs []error) {
	var routes, lists []string
	for _, r := range cfg.Routes {
		routes = append(routes, r.Name)
	}
	for _, l := range cfg.Lists {
		lists = append(lists, l.Name)
	}
	var classes []string
	for _, c := range cfg.Clients {
		classes = append(classes, c.Name)
	}
	for _, n := range names {
		known := lists
		switch n.what {
		case "route":
			known = append([]string{gateway.WAN}, routes...)
		case "class of clients":
			known = classes
		}
		if r, ok := cfg.Route(n.name); n.directive == "route" && ok && !r.ServesClass(class) {
			errs = append(errs, fmt.Errorf("plugin/route: %w", n.at.Errorf("route %s is for clients %s only (%s), and this block answers others: want `clients %s` in it",
				n.name, strings.Join(r.Clients, ", "), cfg.File, r.Clients[0])))
		}
		if n.directive == "route" && n.name == gateway.WAN && cfg.WANTakes == nil && !n.foreign {
			errs = append(errs, fmt.Errorf("plugin/route: %w", n.at.Errorf("nothing can be listed for wan (%s): names that no route learns take the WAN; want `wan: {}` in routes:, or default:", cfg.File)))
		}
		if !slices.Contains(known, n.name) {
			errs = append(errs, fmt.Errorf("plugin/%s: %w", n.directive, n.at.Errorf("%w", unknown(n.what, n.name, known, cfg.File))))
		}
	}
	return errs
}

// unknown returns an error that names the nearest known name.
func unknown(what, name string, known []string, file string) error {
	if len(known) == 0 {
		return fmt.Errorf("unknown %s %q: %s has none", what, name, file)
	}
	if n := problem.Nearest(name, known); n != "" {
		return fmt.Errorf("unknown %s %q: did you mean %q? (%s has: %s)", what, name, n, file, strings.Join(known, ", "))
	}
	return fmt.Errorf("unknown %s %q: %s has: %s", what, name, file, strings.Join(known, ", "))
}
