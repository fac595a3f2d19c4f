package listed

import (
	"slices"
	"strings"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/plugin/pkg/limit"
)

func init() { plugin.Register(name, setup) }

// setup parses one `listed` directive. Errors carry the Corefile's file and line.
func setup(c *caddy.Controller) error {
	l, d, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	l.queries = queriesOf(c.ServerBlockKeys, l.lists)
	block := instance.Attach(c, d.config)
	block.Listed(d.at, l.lists, l.queries.Load)
	c.OnStartup(func() error {
		l.source, l.aliases = block.Dataplane(), block.Aliases()
		if r := block.Route(); r != nil {
			l.route = r
		}
		return nil
	})
	dnsserver.GetConfig(c).AddPlugin(func(next plugin.Handler) plugin.Handler {
		l.Next = next
		return l
	})
	return nil
}

// directive is what a `listed` directive says besides its lists.
type directive struct {
	at     corefile.Position
	config string // gateway.yaml; "" for the default
}

// parse reads
//
//	listed LIST... {
//	    config FILE
//	    new_aliases PER_MINUTE [AT_ONCE] | off
//	}
func parse(c *caddy.Controller) (l *Listed, d directive, err error) {
	for c.Next() {
		if l != nil {
			return nil, d, plugin.ErrOnce
		}
		d.at = instance.Here(c)
		l = &Listed{lists: c.RemainingArgs(), limit: limit.New(limit.Default), refusals: logonce.Every{Interval: time.Minute}}
		if len(l.lists) == 0 {
			return nil, d, c.Err("no list: want the names of one or more lists of gateway.yaml")
		}
		for i, name := range l.lists {
			if slices.Contains(l.lists[:i], name) {
				return nil, d, c.Errf("duplicate list %s", name)
			}
		}
		l.view = strings.Join(l.lists, "+")
		for c.NextBlock() {
			switch key := c.Val(); key {
			case "config":
				if d.config, err = instance.ConfigFile(c, c.RemainingArgs()); err != nil {
					return nil, d, c.Errf("config: %v", err)
				}
			case "new_aliases":
				rate, err := limit.Parse(c.RemainingArgs())
				if err != nil {
					return nil, d, c.Errf("new_aliases %v", err)
				}
				l.limit = limit.New(rate)
			default:
				return nil, d, c.Errf("unknown property %q: want config or new_aliases", key)
			}
		}
	}
	return l, d, nil
}
