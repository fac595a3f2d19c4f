package listed

import (
	"slices"
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/nameroute/nameroute/plugin/dnshalf"
)

func init() { plugin.Register(name, setup) }

// setup wires one `listed` directive. Whatever it finds wrong carries the Corefile's
// file and line.
func setup(c *caddy.Controller) error {
	l, d, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	h, err := dnshalf.Attach(c, d.config)
	if err != nil {
		return plugin.Error(name, d.at.Wrap(err))
	}
	if err := h.Listed(l.lists); err != nil {
		return plugin.Error(name, d.at.Wrap(err))
	}
	l.half = h.Half
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		l.Next = next
		return l
	})
	return nil
}

// directive is what a `listed` directive says besides its lists.
type directive struct {
	at     dnshalf.Position
	config string
}

// parse reads `listed LIST... { config FILE }`.
func parse(c *caddy.Controller) (l *Listed, d directive, err error) {
	for c.Next() {
		if l != nil {
			return nil, d, plugin.ErrOnce
		}
		d.at = dnshalf.Here(c)
		l = &Listed{lists: c.RemainingArgs()}
		if len(l.lists) == 0 {
			return nil, d, c.Err("no list: want the names of one or more lists of gateway.yaml")
		}
		for i, name := range l.lists {
			if slices.Contains(l.lists[:i], name) {
				return nil, d, c.Errf("list %s stands twice", name)
			}
		}
		l.view = strings.Join(l.lists, "+")
		for c.NextBlock() {
			switch key := c.Val(); key {
			case "config":
				args := c.RemainingArgs()
				if len(args) != 1 {
					return nil, d, c.Err("config: want one file")
				}
				d.config = args[0]
			default:
				return nil, d, c.Errf("unknown property %q: want config", key)
			}
		}
	}
	return l, d, nil
}
