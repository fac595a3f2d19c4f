package dataplane

import (
	"context"
	"errors"
	"strings"
	"time"
)

var errOverwritten = errors.New("overwritten")

// watchMarks logs when packets of routes begin to be blocked because another program has
// overwritten their mark, and when that has ended.
func (c *Controller) watchMarks(ctx context.Context) {
	last := map[string]uint64{}
	for tick := time.NewTicker(c.timers.Slow); ; {
		c.reportMarks(last)
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// reportMarks compares the counters with those of the last time.
func (c *Controller) reportMarks(last map[string]uint64) {
	counts, err := c.system.Counts()
	if err != nil {
		return // Status reports it
	}
	cfg := c.Config()
	for _, r := range cfg.Routes {
		now := counts.Overwritten[r.Name].Packets
		before, known := last[r.Name]
		last[r.Name] = now // less than before: the table is a new one
		err = nil
		if known && now > before {
			err = errOverwritten
		}
		switch began, ended := c.edge.Failing("marks of "+r.Name, err); {
		case began:
			c.log.Warn("another program overwrites marks, packets of the route are blocked", "route", r.Name, "packets", now, "by", c.markWriters())
		case ended:
			c.log.Info("marks are not overwritten any more", "route", r.Name)
		}
	}
}

// markWriters names the rules that may have overwritten marks.
func (c *Controller) markWriters() string {
	if c.opts.MarkWriters == nil {
		return "unknown"
	}
	rules, err := c.opts.MarkWriters(c.Config().Mask)
	switch {
	case err != nil:
		return err.Error()
	case len(rules) == 0:
		return "no rule of nftables"
	}
	return strings.Join(rules, "; ")
}
