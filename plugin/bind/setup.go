// Package bind implements CoreDNS's directive of that name for a machine whose addresses
// come and go.
package bind

import (
	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/nameroute/nameroute/plugin/pkg/bindaddr"
)

const name = "bind"

var log = clog.NewWithPlugin(name)

func init() { plugin.Register(name, setup) }

// setup reads the `bind` directives of one block. The program starts CoreDNS anew when an
// interface gets or loses an address.
func setup(c *caddy.Controller) error {
	var hosts, without []string
	for c.Next() {
		args, except, err := parse(c)
		if err != nil {
			return plugin.Error(name, err)
		}
		h, w := bindaddr.Of(args, except)
		hosts, without = append(hosts, h...), append(without, w...)
	}
	dnsserver.GetConfig(c).ListenHosts = hosts
	for _, link := range without {
		warnOnce(c, link)
	}
	return nil
}

// noAddress is the key of a link that the instance warns about at its start.
type noAddress string

// warnOnce has the instance warn about an interface at its start, however many blocks are
// bound to it.
func warnOnce(c *caddy.Controller, link string) {
	if c.Get(noAddress(link)) != nil {
		return
	}
	c.Set(noAddress(link), true)
	c.OnStartup(func() error {
		log.Warningf("no address yet on %s: no query is answered there until it has one", link)
		return nil
	})
}

// parse reads
//
//	bind ADDRESS|INTERFACE... {
//	    except ADDRESS|INTERFACE...
//	}
func parse(c *caddy.Controller) (args, except []string, err error) {
	if args, err = hostArgs(c); err != nil {
		return nil, nil, err
	}
	for c.NextBlock() {
		if c.Val() != "except" {
			return nil, nil, c.Errf("unknown property %q: want except", c.Val())
		}
		more, err := hostArgs(c)
		if err != nil {
			return nil, nil, err
		}
		except = append(except, more...)
	}
	return args, except, nil
}

func hostArgs(c *caddy.Controller) ([]string, error) {
	args := c.RemainingArgs()
	if len(args) == 0 {
		return nil, c.Err("want at least one address or interface")
	}
	for _, a := range args {
		if err := bindaddr.Check(a); err != nil {
			return nil, c.Errf("%v", err)
		}
	}
	return args, nil
}
