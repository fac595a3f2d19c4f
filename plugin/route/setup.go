package route

import (
	"errors"
	"strconv"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/dns64"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/plugin/dnshalf"
)

func init() { plugin.Register(name, setup) }

var errWAN = errors.New("route wan has no sets: leave the directive out, names that no route learns go by the WAN")

// setup wires one `route` directive.
func setup(c *caddy.Controller) error {
	d, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	h, err := dnshalf.Attach(c, d.config)
	if err != nil {
		return plugin.Error(name, d.at.Wrap(err))
	}
	to, err := h.Route(d.route)
	if err != nil {
		return plugin.Error(name, d.at.Wrap(err))
	}
	r := &Route{to: to, nat64: wellKnownNAT64, answerOnError: d.answerOnError}
	if !d.unlimited {
		r.limit = newLimit(d.perMinute, d.atOnce)
	}
	switch {
	case d.sets != nil:
		to.LearnInto(*d.sets)
	case d.route != gateway.WAN:
		to.Learns()
	default:
		return plugin.Error(name, d.at.Wrap(errWAN))
	}
	cfg := dnsserver.GetConfig(c)
	c.OnStartup(func() error {
		if d, ok := cfg.Handler("dns64").(*dns64.DNS64); ok && d.Prefix != nil {
			return r.addNAT64(d.Prefix)
		}
		return nil
	})
	cfg.AddPlugin(func(next plugin.Handler) plugin.Handler {
		r.Next = next
		return r
	})
	return nil
}

// directive is what a `route` directive says.
type directive struct {
	at            dnshalf.Position
	route         string
	config        string
	sets          *nft.SetPair
	answerOnError bool

	unlimited         bool
	perMinute, atOnce int // new addresses of one client
}

// parse reads
//
//	route NAME {
//	    config FILE
//	    set inet TABLE SET4 SET6
//	    on_error servfail|answer
//	    new_addresses PER_MINUTE [AT_ONCE] | off
//	}
func parse(c *caddy.Controller) (d directive, err error) {
	for c.Next() {
		if d.route != "" {
			return d, plugin.ErrOnce
		}
		d.at = dnshalf.Here(c)
		d.perMinute, d.atOnce = defaultPerMinute, defaultAtOnce
		args := c.RemainingArgs()
		if len(args) != 1 {
			return d, c.Errf("%d routes: want the name of one route of gateway.yaml", len(args))
		}
		d.route = args[0]
		for c.NextBlock() {
			if err := d.property(c); err != nil {
				return d, err
			}
		}
	}
	return d, nil
}

func (d *directive) property(c *caddy.Controller) error {
	key := c.Val()
	args := c.RemainingArgs()
	switch key {
	case "config":
		if len(args) != 1 {
			return c.Err("config: want one file")
		}
		d.config = args[0]
	case "set":
		if len(args) != 4 || args[0] != "inet" {
			return c.Errf("set %q: want inet TABLE SET4 SET6, two sets of one inet table", args)
		}
		d.sets = &nft.SetPair{
			Set4: nft.SetRef{Family: args[0], Table: args[1], Name: args[2]},
			Set6: nft.SetRef{Family: args[0], Table: args[1], Name: args[3]},
		}
	case "on_error":
		if len(args) != 1 || args[0] != "servfail" && args[0] != "answer" {
			return c.Errf("on_error %q: want servfail (the default) or answer", args)
		}
		d.answerOnError = args[0] == "answer"
	case "new_addresses":
		return d.newAddresses(c, args)
	default:
		return c.Errf("unknown property %q: want config, set, on_error or new_addresses", key)
	}
	return nil
}

// maxNew bounds both numbers of new_addresses; more is `off`.
const maxNew = 1_000_000

func (d *directive) newAddresses(c *caddy.Controller, args []string) error {
	if len(args) == 1 && args[0] == "off" {
		d.unlimited = true
		return nil
	}
	numbers := make([]int, 0, 2)
	for _, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil || n < 1 || n > maxNew {
			break
		}
		numbers = append(numbers, n)
	}
	if len(numbers) != len(args) || len(args) < 1 || len(args) > 2 {
		return c.Errf("new_addresses %q: want how many one client may bring in a minute and, if you like, at once (1 to %d), or off", args, maxNew)
	}
	d.perMinute, d.atOnce = numbers[0], max(numbers[0], defaultAtOnce)
	if len(numbers) == 2 {
		d.atOnce = numbers[1]
	}
	return nil
}
