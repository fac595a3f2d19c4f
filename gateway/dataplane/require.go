package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// Requirements are what one CoreDNS instance needs of the dataplane.
type Requirements struct {
	Lists     []string            // that its blocks name
	Uses      []Use               // one for each directive that names a route
	Listeners []firewall.Listener // addresses and ports that its blocks answer on
}

// Use is a block's use of a route.
type Use struct {
	Route string
	// Learns says that the addresses in the block's answers join the route's sets.
	// Otherwise the block only queries resolvers via the route.
	Learns bool
	Sets   *nft.SetPair // of another program's nft table, to learn into; nil: the route's own
	Lists  []string     // of the block: a name on none of them no longer justifies an address
	Any    bool         // the block answers any name
}

// wantsTable reports whether our own nft table is to be built: always, but where the
// blocks learn into other programs' sets, or use no route at all.
func (r *Requirements) wantsTable() bool {
	return len(r.Uses) > 0 && !slices.ContainsFunc(r.Uses, func(u Use) bool { return u.Sets != nil })
}

func wantsTable(all []Requirements) bool {
	return slices.ContainsFunc(all, func(r Requirements) bool { return r.wantsTable() })
}

// foreignSets returns the sets of other programs that blocks learn into.
func foreignSets(all []Requirements) []nft.SetPair {
	var pairs []nft.SetPair
	for _, r := range all {
		for _, u := range r.Uses {
			if u.Sets != nil && !slices.Contains(pairs, *u.Sets) {
				pairs = append(pairs, *u.Sets)
			}
		}
	}
	return pairs
}

// check finds blocks that exclude each other.
func (r *Requirements) check() error {
	own, foreign := "", ""
	for _, u := range r.Uses {
		switch {
		case u.Sets != nil:
			foreign = u.Route
		case u.Learns:
			own = u.Route
		}
	}
	if own != "" && foreign != "" {
		return fmt.Errorf("route %s has `set` and route %s has not: with sets of other programs no nft table is built, so either all route directives have `set` or none", foreign, own)
	}
	return nil
}

// Require replaces the requirements by those of all living instances; the newest is the
// last. When it returns without an error they are met: where they want an nft table, it
// is there. Requirements that cannot be met change nothing. The error wraps ErrList where
// a list that is new in them has no content.
func (c *Controller) Require(ctx context.Context, all ...Requirements) error {
	c.mu.Lock()
	old := c.required
	c.mu.Unlock()
	for i := range all {
		if err := all[i].check(); err != nil {
			return err
		}
	}
	if err := c.checkLists(listsOf(all), listsOf(old)); err != nil {
		return err
	}
	c.store.restore(ctx, c.Config(), pairsOf(c.Config(), all), wantsTable(all))
	known := foreignSets(old)
	var errs []error
	for _, pair := range foreignSets(all) {
		if !slices.Contains(known, pair) {
			errs = append(errs, c.kernel.CheckSets(ctx, pair))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.setRequired(all)
	if err := c.refresh(ctx); err != nil {
		c.setRequired(old)
		return err
	}
	c.isReady.Do(func() { close(c.ready) })
	return nil
}

// Relax replaces the requirements by some of those in force, which are met already. The
// nft table follows at once.
func (c *Controller) Relax(remaining ...Requirements) { c.setRequired(remaining) }

// setRequired makes requirements the ones in force.
func (c *Controller) setRequired(all []Requirements) {
	c.mu.Lock()
	c.required = all
	c.mu.Unlock()
	c.Kick()
	c.RequestPrune()
}

func (c *Controller) requirements() []Requirements {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.required
}

func listsOf(all []Requirements) []string {
	var names []string
	for _, r := range all {
		names = append(names, r.Lists...)
	}
	return names
}

// listenersOf returns the listeners of all instances, each once.
func listenersOf(all []Requirements) []firewall.Listener {
	var listeners []firewall.Listener
	for _, r := range all {
		for _, l := range r.Listeners {
			if !slices.Contains(listeners, l) {
				listeners = append(listeners, l)
			}
		}
	}
	return listeners
}

// pairs returns the sets of each route that is learned for, by route name: its own, or
// those of another program that a block names.
func (c *Controller) pairs() map[string]nft.SetPair { return pairsOf(c.Config(), c.requirements()) }

func pairsOf(cfg *gateway.Config, all []Requirements) map[string]nft.SetPair {
	pairs := map[string]nft.SetPair{}
	if wantsTable(all) {
		for _, r := range cfg.Choices() {
			pairs[r.Name] = firewall.Pair(r)
		}
	}
	for _, r := range all {
		for _, u := range r.Uses {
			if _, ok := cfg.Route(u.Route); ok && u.Sets != nil {
				pairs[u.Route] = *u.Sets
			}
		}
	}
	return pairs
}
