package dataplane

import (
	"context"
	"slices"

	"github.com/nameroute/nameroute/lists/index"
)

// RequestPrune has the learned addresses checked again soon: lists or blocks have changed,
// and addresses go that no listed name justifies any more.
func (c *Controller) RequestPrune() {
	c.changes.Add(1)
	wake(c.prune)
}

// pruneLoop removes what is not justified any more, each time that RequestPrune asks.
func (c *Controller) pruneLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.prune:
		}
		for route := range c.pairs() {
			n, err := c.pruneRoute(ctx, route)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				c.log.Warn("addresses of unlisted names are not removed", "route", route, "error", err)
			case n > 0:
				c.log.Info("removed addresses of unlisted names", "route", route, "addresses", n)
			}
		}
	}
}

// pruneRoute removes the learned addresses of a route none of whose names its blocks would
// answer now, or moves them to the route whose block would. Established flows keep their
// route.
func (c *Controller) pruneRoute(ctx context.Context, route string) (n int, err error) {
	if _, some := c.listsOf(route); !some {
		return 0, nil
	}
	if err := c.moveListed(ctx, route); err != nil {
		return 0, err
	}
	return c.kernel.Prune(ctx, c.pairs()[route], c.listedFor(route))
}

// listedFor returns whether a name justifies an address of a route. It follows the lists
// and blocks while the sets are pruned, which may take long.
func (c *Controller) listedFor(route string) func(name string) bool {
	var listed func(string) bool
	var of uint64
	return func(name string) bool {
		if now := c.changes.Load(); listed == nil || now != of {
			of, listed = now, func(string) bool { return true }
			if names, some := c.listsOf(route); some {
				listed = c.listedOn(names)
			}
		}
		return listed(name)
	}
}

// listsOf returns the lists of all blocks that learn for a route, or into the same sets of
// another program. some is false where a block answers any name: no name then loses its
// reason. A route that no block learns for has no lists.
func (c *Controller) listsOf(route string) (names []string, some bool) {
	pair := c.pairs()[route]
	for _, r := range c.requirements() {
		for _, u := range r.Uses {
			shared := u.Sets != nil && (u.Sets.Set4 == pair.Set4 || u.Sets.Set6 == pair.Set6)
			if !u.Learns || u.Route != route && !shared {
				continue
			}
			if u.Any {
				return nil, false
			}
			names = append(names, u.Lists...)
		}
	}
	return names, true
}

// listedOn returns whether a name is on one of the lists now, or an alias of one that is.
func (c *Controller) listedOn(names []string) func(name string) bool {
	ix := c.Index()
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(ix.Names(), n) })
	slices.Sort(known)
	mine, err := ix.Selection(slices.Compact(known)...)
	if err != nil {
		c.log.Error("lists of learned addresses", "error", err)
		return func(string) bool { return true }
	}
	return func(name string) bool { return c.listedIn(ix, mine, names, name) }
}

func (c *Controller) listedIn(ix *index.Index, mine index.Selection, names []string, name string) bool {
	if m := ix.Match(name); m.Claimed() {
		return m.Listed(mine)
	}
	return c.opts.IsAlias != nil && c.opts.IsAlias(name, names)
}
