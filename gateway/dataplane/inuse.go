package dataplane

import (
	"context"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// An element stays while a flow of its route to it exists: conntrack may forget a flow that
// is idle, or be flushed, and the flow's next packet must still find the element. So flows
// are looked at before elements would lapse.
const (
	inUseShare = 60 // looks in the time that an element is given
	inUseLeast = 250 * time.Millisecond
	inUseMost  = time.Minute
	// inUseCost is the least pause after a look, as a multiple of how long it took. But
	// there are always inUseFewest looks before an element lapses.
	inUseCost   = 50
	inUseFewest = 4
)

// usedFor returns for how long an element with a flow is prolonged. That is done when half
// of it is left, so that what reclaim may take has no flow.
func usedFor(l gateway.Lifetime) time.Duration { return max(l.Floor, 2*l.Grace) }

// prolongLoop prolongs what is in use until ctx ends.
func (c *Controller) prolongLoop(ctx context.Context) {
	var took time.Duration
	for {
		life := usedFor(c.Config().Lifetime)
		pace := min(max(life/inUseShare, inUseLeast), inUseMost)
		sleep(ctx, max(pace, min(inUseCost*took, life/2/inUseFewest)))
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		err := c.prolongUsed(ctx)
		took = time.Since(began)
		if ctx.Err() != nil {
			return
		}
		switch began, ended := c.edge.Failing("flows", err); {
		case began:
			c.log.Warn("addresses with flows are not prolonged, trying again", "error", err)
		case ended:
			c.log.Info("addresses with flows are prolonged again")
		}
	}
}

// prolongUsed prolongs the elements of each route that would end before long and have a flow; in a
// set that is nearly full, a flow that was answered, because sending takes nothing. Sets of other
// programs are left to their rules.
func (c *Controller) prolongUsed(ctx context.Context) error {
	cfg := c.Config()
	if !wantsTable(c.requirements()) {
		return nil
	}
	life := usedFor(cfg.Lifetime)
	ending := map[string]map[netip.Addr]bool{} // by route: not in use, as far as is known yet
	for _, r := range cfg.Choices() {
		if e := c.kernel.Ending(firewall.Pair(r), life/2, cfg.Lifetime.Ceiling); len(e) > 0 {
			ending[r.Name] = e
		}
	}
	if len(ending) == 0 {
		return nil
	}
	crowded, used := map[string]bool{}, map[string][]netip.Addr{}
	for _, r := range cfg.Choices() {
		pair := firewall.Pair(r)
		crowded[r.Name] = c.kernel.Crowded(&pair)
	}
	// Of all flows: other programs may have written their marks.
	err := c.system.Flows(gateway.Mark{}, func(f conntrack.Flow) {
		for route, e := range ending {
			if e[f.Dst] && (f.Seen || !crowded[route]) {
				delete(e, f.Dst)
				used[route] = append(used[route], f.Dst)
			}
		}
	})
	if err != nil {
		return err
	}
	for _, r := range cfg.Choices() {
		if err := c.kernel.Prolong(ctx, firewall.Pair(r), used[r.Name], life); err != nil {
			return err
		}
	}
	return nil
}
