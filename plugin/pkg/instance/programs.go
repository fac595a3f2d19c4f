package instance

import (
	"fmt"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
)

// answering is what a server block says about a class: whether it answers all its names, and
// via which routes it queries resolvers.
type answering struct {
	class  string // "": for everybody
	all    bool
	at     corefile.Position // of the clients directive, or of the list that it answers
	routes []string
}

// checkPrograms finds classes of programs that have a route for all they send, and whose
// names would be asked another way.
func checkPrograms(blocks []answering, cfg *gateway.Config) (errs []error) {
	for _, class := range cfg.Clients {
		if class.Route == "" {
			continue
		}
		answered := false
		for _, b := range blocks {
			own, first := b.class == class.Name, b.class == "" && !b.all && !answered
			for _, r := range b.routes {
				if r == class.Route {
					continue
				}
				if own {
					errs = append(errs, fmt.Errorf("plugin/clients: %w", b.at.Errorf("class %s goes by %s with everything (%s), and this block asks via %s: want `upstream %s`", class.Name, class.Route, cfg.File, r, class.Route)))
				} else if first {
					errs = append(errs, fmt.Errorf("plugin/listed: %w", b.at.Errorf("class %s goes by %s with everything (%s), and its names on this list would be asked via %s: want the block with `clients %s` above this one", class.Name, class.Route, cfg.File, r, class.Name)))
				}
			}
			if !own {
				continue
			}
			if b.all && len(b.routes) == 0 {
				errs = append(errs, fmt.Errorf("plugin/clients: %w", b.at.Errorf("class %s goes by %s with everything (%s): want `upstream %s` in its block", class.Name, class.Route, cfg.File, class.Route)))
			}
			answered = answered || b.all
		}
		if !answered {
			errs = append(errs, fmt.Errorf("%s:%d: clients.%s: goes by %s with everything, and its names would not: want a block without listed, above those for everybody: . { clients %[3]s; cache; upstream %[4]s }, each on a line of its own",
				cfg.File, cfg.Positions.Find("clients."+class.Name).Line, class.Name, class.Route))
		}
	}
	return errs
}

// CheckPrograms finds what checkPrograms does, in a Corefile that does not run.
func CheckPrograms(f *corefile.File, cfg *gateway.Config) []error {
	var blocks []answering
	for i := range f.Blocks {
		b := &f.Blocks[i]
		a := answering{class: b.Class(), all: !b.Filtered(), at: b.Position}
		if b.Clients != nil {
			a.at = b.Clients.Position
		} else if b.Listed != nil {
			a.at = b.Listed.Position
		}
		if b.Upstream != nil {
			a.routes = []string{b.Upstream.Route}
		}
		blocks = append(blocks, a)
	}
	return checkPrograms(blocks, cfg)
}

// answering returns what the running blocks say about classes.
func (i *instance) answering() (all []answering) {
	for _, b := range i.blocks {
		a := answering{class: b.class, all: !b.listed}
		for _, n := range b.names {
			switch n.directive {
			case "clients", "listed":
				if a.class == "" || n.directive == "clients" {
					a.at = n.at
				}
			case "upstream":
				a.routes = append(a.routes, n.name)
			}
		}
		all = append(all, a)
	}
	return all
}
