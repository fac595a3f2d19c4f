package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
)

// tableReady waits for the nft table: our own server's, or that of the dns half's
// process, which shows it in the kernel.
func (p *process) tableReady(started <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-started:
		case <-ctx.Done():
			return ctx.Err()
		}
		for !slices.Contains(p.parts, control.DNS) {
			stands, err := nft.TableExists(gateway.TableName)
			if err != nil || stands {
				return err
			}
			select {
			case <-time.After(tablePause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
}

// tablePause is between two looks for the table of another process.
const tablePause = 100 * time.Millisecond
