package setup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// choices are what the two files are composed of.
type choices struct {
	lan    []candidate
	wan    string // "" follows the default route
	file   string // WireGuard's
	link   string // or an interface
	list   string // file or URL
	bind   bool   // listen on the LAN's addresses only: port 53 is in use on another
	public bool   // use public resolvers for the WAN
	leases []string
	domain string // of the DHCP clients
}

// dialogue asks, or with --yes takes what is unambiguous.
type dialogue struct {
	in  *bufio.Reader
	out io.Writer
	yes bool
}

// choose asks for one of the detected values, the likeliest first, or another one. Without
// a detected value an answer is required.
func (d *dialogue) choose(what, flag string, detected []string) (string, error) {
	if d.yes {
		switch len(detected) {
		case 0:
			return "", exit.With(exit.Usage, fmt.Errorf("%s: none found: set --%s", what, flag))
		case 1:
			return detected[0], nil
		}
		return "", exit.With(exit.Usage, fmt.Errorf("%s: found %s: choose with --%s", what, strings.Join(detected, " or "), flag))
	}
	for {
		prompt := what
		if len(detected) > 1 {
			prompt += " (" + strings.Join(detected, ", ") + ")"
		}
		if len(detected) > 0 {
			prompt += " [" + detected[0] + "]"
		}
		fmt.Fprintf(d.out, "%s: ", prompt)
		line, err := d.in.ReadString('\n')
		line = strings.TrimSpace(line)
		switch {
		case line != "":
			return line, nil
		case err != nil:
			return "", exit.With(exit.Usage, fmt.Errorf("%s: no answer: set --%s", what, flag))
		case len(detected) > 0:
			return detected[0], nil
		}
	}
}

// decide combines what was detected, given by flags and answered.
func (d *dialogue) decide(b *box, o Options) (choices, error) {
	var c choices
	var err error
	c.public = !b.resolvers
	c.leases, c.domain = b.leases, b.domain
	c.bind = slices.ContainsFunc(b.port53, func(h string) bool { return strings.HasPrefix(h, "systemd-resolve") })
	if c.wan, err = d.wan(b, o); err != nil {
		return c, err
	}
	if c.lan, err = d.lan(b, o); err != nil {
		return c, err
	}
	if err := d.tunnel(b, o, &c); err != nil {
		return c, err
	}
	c.list = o.List
	if c.list == "" && !d.yes {
		c.list, err = d.choose("List: a file or a URL", "list", []string{"mine.txt"})
	}
	if c.list == "mine.txt" {
		c.list = ""
	}
	return c, err
}

func (d *dialogue) wan(b *box, o Options) (string, error) {
	switch {
	case o.WAN == "auto" || o.WAN == "" && len(b.wan) <= 1:
		return "", nil // the default route is followed
	case o.WAN != "":
		return o.WAN, nil
	}
	answer, err := d.choose("WAN interface", "wan", b.wan)
	if answer == "auto" {
		answer = ""
	}
	return answer, err
}

// noLAN says that there are no clients.
const noLAN = "none"

func (d *dialogue) lan(b *box, o Options) ([]candidate, error) {
	names := o.LAN
	if len(names) == 0 {
		var bridges, detected []string
		for _, c := range b.lan {
			detected = append(detected, c.name)
			if c.bridge {
				bridges = append(bridges, c.name)
			}
		}
		detected = append(bridges, slices.DeleteFunc(detected, func(n string) bool { return slices.Contains(bridges, n) })...)
		if len(bridges) == 1 && d.yes {
			detected = bridges // a router's LAN is a bridge
		}
		what := "LAN interface"
		if len(detected) == 0 && !d.yes {
			what, detected = "LAN interface, or none: then this box alone gets answers", []string{noLAN}
		}
		answer, err := d.choose(what, "lan", detected)
		if err != nil {
			return nil, err
		}
		names = strings.FieldsFunc(answer, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if slices.Equal(names, []string{noLAN}) {
		return nil, nil
	}
	var all []candidate
	for _, n := range names {
		c := candidate{name: n}
		if i := slices.IndexFunc(b.lan, func(c candidate) bool { return c.name == n }); i >= 0 {
			c = b.lan[i]
		}
		all = append(all, c)
	}
	return all, nil
}

func (d *dialogue) tunnel(b *box, o Options, c *choices) error {
	answer := o.WireGuard
	if answer == "" {
		var err error
		if answer, err = d.choose("Tunnel: a provider's WireGuard file, or an interface", "wireguard", slices.Concat(b.wireguard, b.tunnels)); err != nil {
			return err
		}
	}
	if !strings.ContainsAny(answer, "/.") {
		c.link = answer
		return nil
	}
	file, err := filepath.Abs(answer)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return exit.With(exit.Usage, fmt.Errorf("%s: no such file: put the provider's file there, unchanged", file))
	} else if err != nil {
		return err
	}
	c.file = file
	return nil
}
