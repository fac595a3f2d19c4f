package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/test/netlab"
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
		RunE: func(*cobra.Command, []string) error {
			if !netlab.Inside() {
				return demoOutside()
			}
			d, err := newDemo(os.Stdout, list)
			if err != nil {
				return err
			}
			return d.show()
		},
	}
	c.Flags().StringVar(&list, "list", "", "list to show it with, in any format that gateway.yaml takes; default: a small one that is built in")
	return c
}

// demoOutside runs the demo again in namespaces of its own.
func demoOutside() error {
	if err := privilege.Need(); err != nil {
		return err
	}
	code, err := netlab.Reexec()
	if err != nil {
		return exit.With(exit.Denied, fmt.Errorf("make network namespaces: %w: run it as root", err))
	}
	if code != exit.OK {
		return &exit.Error{Code: code}
	}
	return nil
}

// names are what the demo asks for.
type names struct {
	file   string   // the list's; "" for the one that is built in
	format string   // what it was read as
	count  int      // its entries
	listed []string // names on it
	other  string   // a name that is not
}

// demoNames takes names from the list that is to be shown.
func demoNames(file, dir string) (names, error) {
	n := names{file: file, other: "not-on-any-list.example"}
	if file == "" {
		n.file = filepath.Join(dir, "demo.txt")
		if err := os.WriteFile(n.file, lists.Demo, 0o600); err != nil {
			return n, err
		}
	}
	var err error
	if n.file, err = filepath.Abs(n.file); err != nil {
		return n, err
	}
	l := gateway.List{Name: "demo", File: n.file}
	rep, err := lists.Check(l)
	if err != nil {
		return n, exit.With(exit.List, err)
	}
	n.format, n.count = rep.Format, rep.Entries()
	if n.listed, err = lists.SampleNames(l, 3); err != nil {
		return n, exit.With(exit.List, err)
	}
	if len(n.listed) == 0 {
		return n, exit.With(exit.List, errors.New(n.file+": the list has no name that could be asked for"))
	}
	return n, nil
}
