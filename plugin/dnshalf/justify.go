package dnshalf

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/lists"
)

const (
	// justifyBatch bounds the addresses that are taken out by one transaction, behind
	// which an answer may have to wait.
	justifyBatch = 250
	justifyPause = 2 * time.Millisecond // between two of them
)

// why is the accounting of a route's names; it is made when it is first asked for.
func (h *Half) why(route string) *why {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.whys[route]
	if w == nil {
		w = newWhy()
		h.whys[route] = w
	}
	return w
}

func (h *Half) sweepWhys() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.whys {
		w.sweep()
	}
}

// Rejudge has the learned addresses looked at again soon: lists or blocks have changed,
// and those go that no listed name justifies any more.
func (h *Half) Rejudge() {
	select {
	case h.rejudge <- struct{}{}:
	default:
	}
}

// judge takes out what is not justified any more, each time that Rejudge asks.
func (h *Half) judge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.rejudge:
		}
		for route := range h.pairs() {
			n, err := h.dropUnlisted(ctx, route)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				log.Warningf("route %s: addresses of names that are on no list any more: %v", route, err)
			case n > 0:
				log.Infof("route %s: %d addresses are taken out, their names are on no list any more", route, n)
			}
		}
	}
}

// dropUnlisted takes out the learned addresses of a route none of whose names its
// blocks would answer now. Flows that run keep their route.
func (h *Half) dropUnlisted(ctx context.Context, route string) (n int, err error) {
	pair := h.pairs()[route]
	w := h.why(route)
	for ctx.Err() == nil {
		names, some := h.listsOf(route)
		if !some {
			return n, nil
		}
		gone := w.unjustified(justifyBatch, h.listedOn(names), func(a netip.Addr) { h.kernel.Doubt(&pair, a) })
		if len(gone) == 0 {
			return n, nil
		}
		if err := h.kernel.Forget(ctx, pair, gone); err != nil {
			return n, err
		}
		n += len(gone)
		time.Sleep(justifyPause)
	}
	return n, ctx.Err()
}

// listsOf are the lists of all blocks that learn for a route. some is false where a
// block learns whatever it is asked: no name then loses its reason. A route that no
// block learns for has no lists.
func (h *Half) listsOf(route string) (names []string, some bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.plans {
		for _, r := range p.routes {
			if r.name != route || !r.learns {
				continue
			}
			if !p.listed[r.block] {
				return nil, false
			}
			names = append(names, p.blockLists[r.block]...)
		}
	}
	return names, true
}

// listedOn tells whether a name is on one of the lists now, or led to by a name that is.
func (h *Half) listedOn(names []string) func(name string) bool {
	ix := h.Index()
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(ix.Names(), n) })
	slices.Sort(known)
	mine, err := ix.Selection(slices.Compact(known)...)
	if err != nil {
		log.Errorf("lists of learned addresses: %v", err)
		return func(string) bool { return true }
	}
	return func(name string) bool { return h.listedIn(ix, mine, names, name) }
}

func (h *Half) listedIn(ix *lists.Index, mine lists.Selection, names []string, name string) bool {
	if m := ix.Match(name); m.Claimed() {
		return m.Listed(mine)
	}
	return h.Names().Has(name, names)
}
