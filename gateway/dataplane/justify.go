package dataplane

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/lists/index"
)

const (
	// justifyBatch bounds the addresses that are taken out by one transaction, behind
	// which an answer may have to wait.
	justifyBatch = 250
	justifyPause = 2 * time.Millisecond // between two of them
)

// why is the accounting of a route's names; it is made when it is first asked for.
func (c *Controller) why(route string) *why {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.whys[route]
	if w == nil {
		w = newWhy()
		c.whys[route] = w
	}
	return w
}

func (c *Controller) sweepWhys() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.whys {
		w.sweep()
	}
}

// RequestPrune has the learned addresses checked again soon: lists or blocks have changed,
// and addresses go that no listed name justifies any more.
func (c *Controller) RequestPrune() { wake(c.prune) }

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
// answer now. Established flows keep their route.
func (c *Controller) pruneRoute(ctx context.Context, route string) (n int, err error) {
	pair := c.pairs()[route]
	w := c.why(route)
	for ctx.Err() == nil {
		names, some := c.listsOf(route)
		if !some {
			return n, nil
		}
		gone := w.unjustified(justifyBatch, c.listedOn(names), func(a netip.Addr) { c.kernel.Doubt(&pair, a) })
		if len(gone) == 0 {
			return n, nil
		}
		if err := c.kernel.Forget(ctx, pair, gone); err != nil {
			return n, err
		}
		n += len(gone)
		sleep(ctx, justifyPause)
	}
	return n, ctx.Err()
}

// listsOf returns the lists of all blocks that learn for a route. some is false where a
// block answers any name: no name then loses its reason. A route that no block learns for
// has no lists.
func (c *Controller) listsOf(route string) (names []string, some bool) {
	for _, r := range c.requirements() {
		for _, u := range r.Uses {
			if u.Route != route || !u.Learns {
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
