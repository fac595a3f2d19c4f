package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/daemon"
	"github.com/nameroute/nameroute/gateway/sidecar"
)

func runCommand(o *options) *cobra.Command {
	return partCommand(o, "run", "Run everything in one process: resolver, nft table, tunnels, routing, list updates", control.DNS, control.Gateway, control.Update)
}

func dnsCommand(o *options) *cobra.Command {
	return partCommand(o, "dns", "Run the resolver and the nft table alone", control.DNS)
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

On SIGTERM and SIGINT it stops and leaves everything in place, with the kill switch
active; 'nameroute down' removes everything. SIGHUP reloads its files.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return daemon.Run(cmd.Context(), daemon.Options{Paths: o.Paths, Parts: parts, Sidecar: timers, Version: version})
		},
	}
	f := c.Flags()
	if slices.Contains(parts, control.Gateway) {
		f.DurationVar(&timers.Handshake, "handshake-limit", 0, "use this in place of the routes' handshake_limit, for tests")
		f.DurationVar(&timers.First, "handshake-timeout", 0, "use this in place of the routes' handshake_timeout, for tests")
		f.DurationVar(&timers.Probe, "probe-interval", 2*time.Second, "interval between two checks of the tunnels")
	}
	return c
}
