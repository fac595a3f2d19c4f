package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/daemon"
	"github.com/nameroute/nameroute/gateway/sidecar"
	"github.com/nameroute/nameroute/gateway/wg"
)

func runCommand(o *options) *cobra.Command {
	return partCommand(o, "run", "Run the gateway: DNS, sets, tunnels and routing in one process", control.DNS, control.Gateway, control.Update)
}

func dnsCommand(o *options) *cobra.Command {
	return partCommand(o, "dns", "Run the dns half alone: the resolver and the nft table", control.DNS)
}

func gatewayCommand(o *options) *cobra.Command {
	return partCommand(o, "gateway", "Run the sidecar alone: tunnels, policy rules and routing tables", control.Gateway)
}

func partCommand(o *options, use, short string, parts ...control.Part) *cobra.Command {
	var timers sidecar.Timers
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Long: short + `.

It ends on SIGTERM and SIGINT and leaves everything in place, with the door closed;
'nameroute down' takes out what is ours. SIGHUP has it read its files again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.Run(cmd.Context(), daemon.Options{Paths: o.Paths, Parts: parts, Sidecar: timers, Version: version})
		},
	}
	f := c.Flags()
	if slices.Contains(parts, control.Gateway) {
		f.DurationVar(&timers.Handshake, "handshake-limit", wg.DefaultHandshakeLimit, "age of a WireGuard handshake at which a tunnel whose packets go unanswered is down")
		f.DurationVar(&timers.Probe, "probe-interval", 2*time.Second, "time between two looks at the tunnels")
	}
	return c
}
