package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/config"
)

func initCommand(o *options) *cobra.Command {
	var f initFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Look at this box and write gateway.yaml and a Corefile for it",
		Long: `Look at this box, ask for what cannot be seen, and write gateway.yaml, a Corefile and
an empty list for it. Files that are there already are never replaced: then nothing is
written. Nothing else is changed.

With --yes nothing is asked: what is plain is taken, and what is not must be said with
the other flags.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !f.yes && cmd.InOrStdin() == os.Stdin && !term.IsTerminal(int(os.Stdin.Fd())) {
				return exit.With(exit.Usage, errors.New("there is no terminal to ask on: give --yes, and flags for what cannot be seen"))
			}
			return runInit(o, f, cmd.InOrStdin(), cmd.OutOrStdout(), "")
		},
	}
	c.Flags().StringSliceVar(&f.lan, "lan", nil, "interfaces of your clients, with commas between")
	c.Flags().StringVar(&f.wan, "wan", "", "interface of the WAN, or auto")
	c.Flags().StringVar(&f.wireguard, "wireguard", "", "the provider's WireGuard file, or the interface of another tunnel")
	c.Flags().StringVar(&f.list, "list", "", "your list, a file or a URL; without it an empty one is made")
	c.Flags().BoolVar(&f.yes, "yes", false, "ask nothing")
	return c
}

// runInit is `init`; root stands before the paths that are looked at, for tests.
func runInit(o *options, f initFlags, in io.Reader, out io.Writer, root string) error {
	for _, name := range []string{o.Config, o.Corefile} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			return fmt.Errorf("%s is there already: nothing is written; `nameroute check` says whether it is right", name)
		}
	}
	b, err := lookAtBox(root)
	if err != nil {
		return err
	}
	b.tell(out)
	d := &dialogue{in: bufio.NewReader(in), out: out, yes: f.yes}
	c, err := d.decide(b, f)
	if err != nil {
		return err
	}
	files := c.compose(filepath.Dir(o.Config))
	if err := o.checkComposed(files); err != nil {
		return err
	}
	if err := o.writeInit(out, files); err != nil {
		return err
	}
	o.nextSteps(out, b, c, files)
	return nil
}

// tell says what was seen.
func (b *box) tell(out io.Writer) {
	var lan []string
	for _, c := range b.lan {
		var addrs []string
		for _, a := range c.addrs {
			addrs = append(addrs, a.String())
		}
		lan = append(lan, fmt.Sprintf("%s (%s)", c.name, strings.Join(addrs, ", ")))
	}
	for _, line := range [][2]string{
		{"WAN", strings.Join(b.wan, ", ")},
		{"LAN", strings.Join(lan, ", ")},
		{"WireGuard files", strings.Join(b.wireguard, ", ")},
		{"other tunnels", strings.Join(b.tunnels, ", ")},
		{"port 53", strings.Join(b.port53, ", ")},
		{"firewall", strings.Join(b.firewalls, ", ")},
		{"DHCP leases", strings.Join(b.leases, ", ")},
	} {
		if line[1] == "" {
			line[1] = "none"
		}
		fmt.Fprintf(out, "%-16s %s\n", line[0]+":", line[1])
	}
	for _, n := range b.notes {
		fmt.Fprintf(out, "%-16s %s\n", "note:", n)
	}
	fmt.Fprintln(out)
}

// checkComposed reads the files as a start would, so that an answer that cannot be
// right is refused before anything is written.
func (o *options) checkComposed(f initFiles) error {
	cfg, err := config.Parse(o.Config, []byte(f.gateway))
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	text, err := corefile.Expand(o.Corefile, []byte(f.corefile))
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	if problems := corecheck.Check(text, cfg); len(problems) > 0 {
		return exit.With(exit.Usage, errors.Join(problems...))
	}
	return nil
}

// writeInit writes the files, each only where there is none. A list that is there is
// the user's, and is used.
func (o *options) writeInit(out io.Writer, f initFiles) error {
	for _, w := range []struct{ name, text string }{{f.listFile, f.list}, {o.Config, f.gateway}, {o.Corefile, f.corefile}} {
		if w.text == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(w.name), 0o755); err != nil {
			return err
		}
		file, err := os.OpenFile(w.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) && w.name == f.listFile {
			continue
		}
		if err != nil {
			return err
		}
		_, err = file.WriteString(w.text)
		if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
			return fmt.Errorf("write %s: %w", w.name, err)
		}
		fmt.Fprintf(out, "wrote %s\n", w.name)
	}
	return nil
}

// nextSteps are the three things that are left to do.
func (o *options) nextSteps(out io.Writer, b *box, c choices, f initFiles) {
	fmt.Fprintln(out, "\nNext:")
	first := "look through the two files"
	if f.list != "" {
		first = "write the names that are to go through the tunnel into " + f.listFile
	}
	fmt.Fprintf(out, "  1. %s\n", first)
	fmt.Fprintln(out, "  2. sudo nameroute check, and do what it says")
	if link, up := wgQuick(c.file); c.file != "" && up {
		fmt.Fprintf(out, "     (%[1]s is up, by wg-quick as it seems: systemctl disable --now wg-quick@%[1]s, or wg-quick down %[1]s)\n", link)
	}
	if len(b.port53) > 0 && !c.bind {
		fmt.Fprintf(out, "     (port 53 is held by %s%s)\n", strings.Join(b.port53, ", "), ports.Remedy(b.port53))
	}
	fmt.Fprintf(out, "  3. sudo nameroute run (or systemctl enable --now nameroute), and have your DHCP\n     server announce %s as the resolver\n", c.lanAddress())
}
