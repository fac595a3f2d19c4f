package home

import (
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

func init() { plugin.Register(name, setup) }

// setup wires one `home` directive.
func setup(c *caddy.Controller) error {
	h, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		h.Next = next
		return h
	})
	return nil
}

// parse reads
//
//	home [DOMAIN...] {
//	    except NAME...
//	    canary on|off
//	}
func parse(c *caddy.Controller) (*Home, error) {
	var domains, excepted []string
	withCanaries, seen := true, false
	for c.Next() {
		if seen {
			return nil, plugin.ErrOnce
		}
		seen = true
		var err error
		if domains, err = names(c, "domain", c.RemainingArgs()); err != nil {
			return nil, err
		}
		for c.NextBlock() {
			key := c.Val()
			args := c.RemainingArgs()
			switch key {
			case "except":
				more, err := names(c, "except", args)
				if err != nil {
					return nil, err
				}
				if len(more) == 0 {
					return nil, c.Err("except: want names, each of which includes all names below it")
				}
				excepted = append(excepted, more...)
			case "canary":
				if len(args) != 1 || args[0] != "on" && args[0] != "off" {
					return nil, c.Errf("canary %q: want on (the default) or off", strings.Join(args, " "))
				}
				withCanaries = args[0] == "on"
			default:
				return nil, c.Errf("unknown property %q: want except or canary", key)
			}
		}
	}
	h := newHome(domains, withCanaries)
	for _, e := range excepted {
		h.except(e)
	}
	return h, nil
}

// names parses zone names; a network such as 192.168.1.0/24 means its reverse zones.
func names(c *caddy.Controller, what string, args []string) ([]string, error) {
	var all []string
	for _, a := range args {
		zones := plugin.Host(a).NormalizeExact()
		if len(zones) == 0 {
			return nil, c.Errf("%s %q: want a name, or a network for its reverse names", what, a)
		}
		for _, z := range zones {
			if _, ok := dns.IsDomainName(z); !ok || z == "." {
				return nil, c.Errf("%s %q: want a name below the root", what, a)
			}
			all = append(all, strings.ToLower(z))
		}
	}
	return all, nil
}
