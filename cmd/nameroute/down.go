package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/reconcile"
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
			n, err := askAll(o.run, "down")
			if n > 0 {
				return err
			}
			return withoutProcess(cmd.Context(), o)
		},
	}
}

// withoutProcess takes out what an earlier process left. It needs no gateway.yaml:
// all that is ours carries a mark of its own.
func withoutProcess(ctx context.Context, o *options) error {
	if ctx == nil {
		ctx = context.Background()
	}
	if err := needCapabilities(); err != nil {
		return err
	}
	for _, p := range []part{partDNS, partGateway} {
		l, err := takeLock(o.run, p)
		if err != nil {
			return err
		}
		defer l.release()
	}
	return errors.Join(removeTable(ctx), removeRouting(ctx, o))
}

func removeTable(ctx context.Context) error {
	k, err := nft.Open(nft.Options{})
	if err != nil {
		return err
	}
	return errors.Join(k.Remove(ctx, gateway.TableName), k.Close())
}

func removeRouting(ctx context.Context, o *options) error {
	cfg, err := gateway.Parse("", nil) // nothing is wanted
	if err != nil {
		return err
	}
	loop, err := reconcile.New(reconcile.Options{Config: cfg, State: o.state, Log: newLogger("down")})
	if err != nil {
		return err
	}
	return loop.Down(ctx)
}
