package dataplane

import (
	"context"
	"errors"
	"fmt"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/hold"
)

// errPlain is why nothing can hold an ordinary table.
var errPlain = errors.New("this kernel has no tables with owner, or `owner: off`")

// holderState returns the process that keeps our nft table owned while nameroute does not
// run, or why none does.
func (c *Controller) holderState() (holder int, err error) {
	switch {
	case c.kernel.Features().Mode == nft.ModePlain:
		return 0, errPlain
	case c.opts.Holder == nil:
		return 0, errors.New("not started")
	}
	return c.opts.Holder.State()
}

// watchHolder logs where no process keeps the table owned, and when that has changed.
func (c *Controller) watchHolder(ctx context.Context) {
	if c.opts.Holder == nil {
		return
	}
	for {
		c.reportHolder()
		select {
		case <-ctx.Done():
			return
		case <-c.opts.Holder.Changed():
		}
	}
}

func (c *Controller) reportHolder() {
	holder, err := c.holderState()
	if errors.Is(err, errPlain) || errors.Is(err, hold.ErrStarting) {
		return
	}
	if err != nil {
		err = fmt.Errorf("no process holds the nft table while nameroute is stopped, and other programs can flush it then: %w", err)
	}
	switch changed, _ := c.edge.Error("holder", err); {
	case err != nil && changed:
		c.log.Warn(err.Error())
	case changed:
		c.log.Info("the nft table is held while nameroute is stopped", "holder", holder)
	}
}
