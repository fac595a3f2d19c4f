package dataplane

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// An element stays while a flow of its route to it exists: conntrack may forget a flow that
// is idle, or be flushed, and the flow's next packet must still find the element. So the
// flows of a route are looked at before its elements would lapse.
const (
	inUseShare = 60 // looks in the time that an element is given
	inUseLeast = 250 * time.Millisecond
	inUseMost  = time.Minute
	// inUseCost is the least pause after a look, as a multiple of how long it took.
	inUseCost = 50
)

// usedFor returns for how long an element with a flow is prolonged. That is done when half
// of it is left, so that what reclaim may take has no flow.
func usedFor(l gateway.Lifetime) time.Duration { return max(l.Floor, 2*l.Grace) }

// prolongLoop prolongs what is in use until ctx ends.
func (c *Controller) prolongLoop(ctx context.Context) {
	var took time.Duration
	for {
		pace := min(max(usedFor(c.Config().Lifetime)/inUseShare, inUseLeast), inUseMost)
		sleep(ctx, max(pace, inUseCost*took))
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

// prolongUsed prolongs the elements of each route that would end before long and have a
// flow. Sets of other programs are their rules' business.
func (c *Controller) prolongUsed(ctx context.Context) error {
	cfg := c.Config()
	if !wantsTable(c.requirements()) {
		return nil
	}
	life := usedFor(cfg.Lifetime)
	for _, r := range cfg.Routes {
		pair := firewall.Pair(r)
		ending := c.kernel.Ending(pair, life/2, cfg.Lifetime.Ceiling)
		if len(ending) == 0 {
			continue
		}
		used := map[netip.Addr]bool{}
		err := c.system.Flows(r.Mark, func(f conntrack.Flow) {
			if ending[f.Dst] {
				used[f.Dst] = true
			}
		})
		if err != nil {
			return err
		}
		if err := c.kernel.Prolong(ctx, pair, slices.Collect(maps.Keys(used)), life); err != nil {
			return err
		}
	}
	return nil
}
