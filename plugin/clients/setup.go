// Package clients implements the directive that keeps a server block for one class of
// clients.
package clients

import (
	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

const name = "clients"

func init() { plugin.Register(name, setup) }

// setup parses one `clients` directive. Errors carry the Corefile's file and line. The
// listeners of the class were put into the Corefile when it was read: see
// corefile.Expand.
func setup(c *caddy.Controller) error {
	class, config, at, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	instance.Attach(c, config).Clients(at, class)
	return nil
}

// parse reads
//
//	clients CLASS {
//	    config FILE
//	}
func parse(c *caddy.Controller) (class, config string, at corefile.Position, err error) {
	for c.Next() {
		if class != "" {
			return "", "", at, plugin.ErrOnce
		}
		at = instance.Here(c)
		args := c.RemainingArgs()
		if len(args) != 1 {
			return "", "", at, c.Err("want the name of one class of clients of gateway.yaml")
		}
		class = args[0]
		for c.NextBlock() {
			if key := c.Val(); key != "config" {
				return "", "", at, c.Errf("unknown property %q: want config", key)
			}
			if config, err = instance.ConfigFile(c, c.RemainingArgs()); err != nil {
				return "", "", at, c.Errf("config: %v", err)
			}
		}
	}
	return class, config, at, nil
}
