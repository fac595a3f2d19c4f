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
		Short: "Show the real thing between network namespaces of this machine",
		Long: `Build a client, a gateway, an ISP, a VPN server and an internet out of network
namespaces, run nameroute on the gateway, and show on the wire which way each packet
went: listed names, other names, a tunnel that is cut, a gateway that is killed.

Nothing outside the namespaces is touched, and they are gone when it ends. The exit
code says whether everything held. It needs root, ip, nft, wg and wireguard-go.`,
		RunE: func(*cobra.Command, []string) error { return demo.Run(os.Stdout, list) },
	}
	c.Flags().StringVar(&list, "list", "", "list to show it with, in any format that gateway.yaml takes; default: a small one that is built in")
	return c
}
