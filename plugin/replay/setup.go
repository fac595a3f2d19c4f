// Package replay implements the directive that has every query pass all plugins.
package replay

import (
	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

const name = "replay"

func init() { plugin.Register(name, setup) }

// setup parses one `replay` directive. Errors carry the Corefile's file and line.
func setup(c *caddy.Controller) error {
	config, off, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	if b := instance.Attach(c, config); off {
		b.NoReplay()
	}
	return nil
}

// parse reads
//
//	replay on|off {
//	    config FILE
//	}
func parse(c *caddy.Controller) (config string, off bool, err error) {
	seen := false
	for c.Next() {
		if seen {
			return "", false, plugin.ErrOnce
		}
		seen = true
		args := c.RemainingArgs()
		if len(args) != 1 || args[0] != "on" && args[0] != "off" {
			return "", false, c.Errf("%q: want on or off", args)
		}
		off = args[0] == "off"
		for c.NextBlock() {
			if key := c.Val(); key != "config" {
				return "", false, c.Errf("unknown property %q: want config", key)
			}
			if config, err = instance.ConfigFile(c, c.RemainingArgs()); err != nil {
				return "", false, c.Errf("config: %v", err)
			}
		}
	}
	return config, off, nil
}
