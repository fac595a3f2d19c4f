package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/logging"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/hold"
	"github.com/nameroute/nameroute/gateway/sidecar"
)

// downTimeout bounds the wait for processes that were asked to end.
const downTimeout = 15 * time.Second

// Remove removes from the kernel what earlier processes left in it. Processes that were
// asked to go down left nothing, but a part may have been killed while another one ran.
// It needs no gateway.yaml: everything of ours carries a mark of its own.
func Remove(ctx context.Context, p paths.Paths) error {
	if err := privilege.Need(); err != nil {
		return err
	}
	for _, part := range []control.Part{control.DNS, control.Gateway} {
		l, err := control.AwaitLock(ctx, p.Run, part, downTimeout)
		if err != nil {
			return err
		}
		defer l.Release()
	}
	return errors.Join(removeTable(), removeRouting(ctx, p.State), control.RemoveSockets(p.Run))
}

func removeTable() error {
	k, err := nft.Open(nft.Options{Table: gateway.TableName, Holder: hold.NewClient(nil)})
	if err != nil {
		return err
	}
	return errors.Join(k.Remove(), k.Close())
}

func removeRouting(ctx context.Context, state string) error {
	cfg, err := config.Parse("", nil) // nothing is wanted
	if err != nil {
		return err
	}
	controller, err := sidecar.New(sidecar.Options{Config: cfg, State: state, Log: logging.New("sidecar")})
	if err != nil {
		return err
	}
	return controller.Down(ctx)
}
