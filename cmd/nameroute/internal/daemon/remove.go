package daemon

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/hold"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/sidecar"
)

// downTimeout bounds the wait for processes that were asked to end.
const downTimeout = 15 * time.Second

// Remove removes from the kernel what earlier processes left in it, and reports whether
// that was anything. Processes that were asked to go down left nothing, but a part may have
// been killed while another one ran. It needs no gateway.yaml: everything of ours carries a
// mark of its own.
func Remove(ctx context.Context, p paths.Paths) (removed bool, err error) {
	if err := privilege.Need(); err != nil {
		return false, err
	}
	for _, part := range []control.Part{control.DNS, control.Gateway} {
		l, err := control.AwaitLock(ctx, p.Run, part, downTimeout)
		if err != nil {
			return false, err
		}
		defer l.Release()
	}
	table, err := nft.TableExists(gateway.TableName)
	changes := &changeCounter{Handler: slog.Default().Handler()}
	err = errors.Join(err, removeTable(p.Run), removeRouting(ctx, p.State, slog.New(changes)), control.RemoveSockets(p.Run), resolvers.Forget())
	return table || changes.seen, err
}

// changeCounter is a log handler that notices changes, which the sidecar logs as
// information, and writes warnings and errors alone: the command says what was done.
type changeCounter struct {
	slog.Handler
	seen bool
}

func (c *changeCounter) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		c.seen = true
		return nil
	}
	return c.Handler.Handle(ctx, r)
}

func removeTable(dir string) error {
	k, err := nft.Open(nft.Options{Table: gateway.TableName, Holder: hold.NewClient(dir, nil)})
	if err != nil {
		return err
	}
	return errors.Join(k.Remove(), k.Close())
}

func removeRouting(ctx context.Context, state string, log *slog.Logger) error {
	cfg, err := config.Parse(gateway.DefaultFile, nil) // nothing is wanted
	if err != nil {
		return err
	}
	controller, err := sidecar.New(sidecar.Options{Config: cfg, State: state, Log: log})
	if err != nil {
		return err
	}
	return controller.Down(ctx)
}
