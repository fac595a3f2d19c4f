package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/sidecar"
)

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Take out everything that is ours and put back what was changed",
		Long: `Take out everything that is ours: the nft table, the tunnels, the policy rules and
routing tables; and put back the sysctls that were changed. The running nameroute does
it and ends; where none runs, this does it itself.

From then on listed names take the WAN like all others.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := control.AskAll(o.Run, "down"); err != nil {
				return err
			}
			return withoutProcess(cmd.Context(), o)
		},
	}
}

// downTimeout bounds the wait for processes that were asked to end.
const downTimeout = 15 * time.Second

// withoutProcess takes out what earlier processes left; what was asked to end has left
// nothing, but one half may have been killed while the other ran. It needs no
// gateway.yaml: all that is ours carries a mark of its own.
func withoutProcess(ctx context.Context, o *options) error {
	if ctx == nil {
		ctx = context.Background()
	}
	if err := privilege.Need(); err != nil {
		return err
	}
	for _, p := range []control.Part{control.DNS, control.Gateway} {
		l, err := control.AwaitLock(ctx, o.Run, p, downTimeout)
		if err != nil {
			return err
		}
		defer l.Release()
	}
	return errors.Join(removeTable(ctx), removeRouting(ctx, o), control.RemoveSockets(o.Run))
}

func removeTable(ctx context.Context) error {
	k, err := nft.Open(nft.Options{})
	if err != nil {
		return err
	}
	return errors.Join(k.Remove(ctx, gateway.TableName), k.Close())
}

func removeRouting(ctx context.Context, o *options) error {
	cfg, err := config.Parse("", nil) // nothing is wanted
	if err != nil {
		return err
	}
	controller, err := sidecar.New(sidecar.Options{Config: cfg, State: o.State, Log: newLogger("down")})
	if err != nil {
		return err
	}
	return controller.Down(ctx)
}
