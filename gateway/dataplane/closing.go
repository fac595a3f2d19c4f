package dataplane

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// A route that has left gateway.yaml stays in the nft table for a moment, without an egress:
// its addresses are blocked, until it is decided where they belong now. Those whose names are
// listed for another route, because the route was renamed or its lists have moved, join
// that one; what is left of it then uses the WAN like everything that is on no list.

// closing is such a route.
type closing struct {
	route   gateway.Route
	unnamed time.Time // since when no block names it; zero: one does
	settled bool      // its addresses were moved since then
}

// noteClosing notes routes that a new configuration no longer has. c.mu is held.
func (c *Controller) noteClosing(old, cfg *gateway.Config) {
	for _, r := range old.Routes {
		if _, ok := cfg.Route(r.Name); !ok {
			c.closings[r.Name] = closing{route: r}
		}
	}
}

// noteStored notes routes that only an earlier process had, by the addresses that it left.
func (c *Controller) noteStored(names []string) {
	cfg := c.Config()
	missing := gateway.Config{Mask: cfg.Mask}
	for _, name := range names {
		n := gateway.HashNumber(name, cfg.Mask)
		missing.Routes = append(missing.Routes, gateway.Route{Name: name, Number: n, Mark: cfg.Mask.Mark(n), OnDown: gateway.Block})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteClosing(&missing, cfg)
}

// closingRoutes returns the routes that are still to be closed: while a block names one, until
// its addresses have been moved after that, and for a moment.
func (c *Controller) closingRoutes(cfg *gateway.Config, required []Requirements) []gateway.Route {
	c.mu.Lock()
	defer c.mu.Unlock()
	var routes []gateway.Route
	current := c.Config() // cfg may be the one before
	for name, r := range c.closings {
		_, back := current.Route(name)
		if _, there := cfg.Route(name); there && !back {
			continue
		}
		named := slices.ContainsFunc(required, func(r Requirements) bool {
			return slices.ContainsFunc(r.Uses, func(u Use) bool { return u.Route == name })
		})
		switch {
		case back, r.settled && !named && time.Since(r.unnamed) >= c.timers.Removed:
			delete(c.closings, name)
			continue
		case named:
			r.unnamed, r.settled = time.Time{}, false
		case r.unnamed.IsZero():
			r.unnamed = time.Now()
			time.AfterFunc(c.timers.Removed, c.Kick)
		}
		c.closings[name] = r
		routes = append(routes, r.route)
	}
	slices.SortFunc(routes, func(a, b gateway.Route) int { return a.Number - b.Number })
	return routes
}

// withClosing adds routes that are being closed to the spec, behind all others. One whose
// mark another route has now is that route: it has its egress.
func withClosing(spec *firewall.Spec, routes []gateway.Route) {
	if len(routes) == 0 {
		return
	}
	cfg := *spec.Config
	cfg.Routes = slices.Clone(cfg.Routes)
	for _, r := range routes {
		for _, now := range spec.Config.Routes {
			if now.Mark == r.Mark {
				spec.Egress[r.Name], r.OnDown = spec.Egress[now.Name], now.OnDown
			}
		}
		cfg.Routes = append(cfg.Routes, r)
	}
	spec.Config = &cfg
}

// settle moves the addresses of routes that are being closed to where they belong now.
// Those whose names are not known follow most of the others; where none is known, they join
// the first route that learns.
func (c *Controller) settle(ctx context.Context, routes []gateway.Route) error {
	var errs []error
	pairs, owner := c.pairs(), c.ownerOfName()
	for _, r := range routes {
		rest := c.ownerOfRest(r, owner)
		n, err := c.kernel.Move(ctx, firewall.Pair(r), func(names []string) *nft.SetPair {
			to := rest
			if names != nil {
				to = owner(names)
			}
			if pair, ok := pairs[to]; ok && to != r.Name {
				return &pair
			}
			return nil
		})
		c.logMoved(r.Name, n)
		if !errors.Is(err, learned.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range routes {
		if now, ok := c.closings[r.Name]; ok && !now.unnamed.IsZero() {
			now.settled = true
			c.closings[r.Name] = now
		}
	}
	return nil
}

func (c *Controller) logMoved(route string, n int) {
	if n > 0 {
		c.log.Info("addresses moved to the routes that list their names now", "from", route, "addresses", n)
	}
}

// moveListed moves the addresses of a route none of whose names its blocks would answer now to
// the route whose block would.
func (c *Controller) moveListed(ctx context.Context, route string) error {
	pairs, owner, listed := c.pairs(), c.ownerOfName(), c.listedFor(route)
	if len(pairs) < 2 {
		return nil
	}
	n, err := c.kernel.Move(ctx, pairs[route], func(names []string) *nft.SetPair {
		if names == nil || slices.ContainsFunc(names, listed) {
			return nil
		}
		if pair, ok := pairs[owner(names)]; ok {
			return &pair
		}
		return nil
	})
	c.logMoved(route, n)
	return err
}

// ownerOfRest returns the route that addresses with unknown names of a removed route join;
// "" for none.
func (c *Controller) ownerOfRest(r gateway.Route, owner func([]string) string) string {
	votes, most, known := map[string]int{}, "", false
	pair := firewall.Pair(r)
	for _, set := range []nft.SetRef{pair.Set4, pair.Set6} {
		for _, e := range c.kernel.Learned(set) {
			if names := c.kernel.Names(set, e.Addr); names != nil {
				known = true
				to := owner(names)
				if votes[to]++; votes[to] > votes[most] {
					most = to
				}
			}
		}
	}
	if known {
		return most
	}
	for _, r := range c.requirements() {
		for _, u := range r.Uses {
			if u.Learns {
				if _, ok := c.Config().Route(u.Route); ok {
					return u.Route
				}
			}
		}
	}
	return ""
}

// ownerOfName returns which route the first block is of that would answer one of some names;
// "" for none. A block whose route is not in gateway.yaml keeps its names.
func (c *Controller) ownerOfName() func(names []string) string {
	type block struct {
		route  string
		listed func(string) bool
	}
	var blocks []block
	if all := c.requirements(); len(all) > 0 {
		for _, u := range all[len(all)-1].Uses {
			switch {
			case !u.Learns || u.Sets != nil:
			case u.Any:
				blocks = append(blocks, block{u.Route, func(string) bool { return true }})
			default:
				blocks = append(blocks, block{u.Route, c.listedOn(u.Lists)})
			}
		}
	}
	return func(names []string) string {
		for _, b := range blocks {
			if slices.ContainsFunc(names, b.listed) {
				return b.route
			}
		}
		return ""
	}
}
