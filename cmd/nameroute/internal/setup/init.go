// Package setup writes gateway.yaml and a Corefile: from what it sees of this machine, or
// from another program's configuration.
package setup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/hostfs"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/config"
)

// Options are the files to write and the choices made beforehand. Empty ones are detected
// or asked for.
type Options struct {
	paths.Paths
	LAN       []string
	WAN       string // an interface, or auto
	WireGuard string // a provider's file, or another tunnel's interface
	List      string // a file or a URL
	Yes       bool   // ask nothing

	In  io.Reader
	Out io.Writer

	root hostfs.Root
}

// Init looks at this machine, asks for what it cannot see, and writes gateway.yaml, a
// Corefile and an empty list. It replaces no file.
func Init(o Options) error {
	for _, name := range []string{o.Config, o.Corefile} {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			return fmt.Errorf("%s already exists: nothing written; check it with `nameroute check`", name)
		}
	}
	b, err := detect(o.root)
	if err != nil {
		return err
	}
	b.print(o.Out)
	d := &dialogue{in: bufio.NewReader(o.In), out: o.Out, yes: o.Yes}
	c, err := d.decide(b, o)
	if err != nil {
		return err
	}
	files := c.compose(filepath.Dir(o.Config))
	if err := o.checkComposed(files); err != nil {
		return err
	}
	if err := o.write(files); err != nil {
		return err
	}
	o.printNextSteps(b, c, files)
	return nil
}

// print prints what was detected.
func (b *box) print(out io.Writer) {
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
		switch {
		case line[1] != "":
		case line[0] == "port 53":
			line[1] = "free"
		default:
			line[1] = "none"
		}
		fmt.Fprintf(out, "%-16s %s\n", line[0]+":", line[1])
	}
	for _, n := range b.notes {
		fmt.Fprintf(out, "%-16s %s\n", "note:", n)
	}
	fmt.Fprintln(out)
}

// checkComposed reads the files as a start would: a wrong answer is refused before
// anything is written.
func (o Options) checkComposed(f composed) error {
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

// write writes the files that do not exist. An existing list is used as it is.
func (o Options) write(f composed) error {
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
		fmt.Fprintf(o.Out, "wrote %s\n", w.name)
	}
	return nil
}

// printNextSteps prints what is left to do.
func (o Options) printNextSteps(b *box, c choices, f composed) {
	fmt.Fprintln(o.Out, "\nNext:")
	first := "review both files"
	if f.list != "" {
		first = "add the names for the tunnel to " + f.listFile
	}
	fmt.Fprintf(o.Out, "  1. %s\n", first)
	fmt.Fprintln(o.Out, "  2. sudo nameroute check, and fix what it reports")
	if link, foreign := foreignInterface(c.file); c.file != "" && foreign {
		fmt.Fprintf(o.Out, "     (%[1]s is up, probably by wg-quick: systemctl disable --now wg-quick@%[1]s, or wg-quick down %[1]s)\n", link)
	}
	if len(b.port53) > 0 && !c.bind {
		fmt.Fprintf(o.Out, "     (port 53 is in use by %s%s)\n", strings.Join(b.port53, ", "), ports.Remedy(b.port53))
	}
	if len(c.lan) == 0 {
		fmt.Fprintln(o.Out, "  3. sudo nameroute run (or systemctl enable --now nameroute), and try it: dig @127.0.0.1 NAME")
		fmt.Fprintln(o.Out, "  4. have this box query it: its resolvers go to wan_resolvers: in "+o.Config+", and\n     `nameserver 127.0.0.1` to /etc/resolv.conf")
		return
	}
	announce := "this box's address in the LAN"
	if a, ok := c.lanAddress(); ok {
		announce = a.String()
	}
	fmt.Fprintf(o.Out, "  3. sudo nameroute run (or systemctl enable --now nameroute), and have your DHCP\n     server announce %s as the resolver\n", announce)
}
