package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/demo"
)

func demoCommand() *cobra.Command {
	var list string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Demonstrate nameroute between network namespaces of this machine",
		Long: `Build a client, a gateway, an ISP, a VPN server and an internet out of network
namespaces, run nameroute on the gateway, and show on the wire which route each packet
took: listed names, other names, a tunnel that is cut, a gateway that is killed.

Nothing outside the namespaces is touched, and they are removed at the end. The exit
code tells whether every claim held. It needs root, ip, nft, wg and wireguard-go.`,
		RunE: func(*cobra.Command, []string) error { return demo.Run(os.Stdout, list) },
	}
	c.Flags().StringVar(&list, "list", "", "list to use, in any format of gateway.yaml; default: a small built-in one")
	return c
}
