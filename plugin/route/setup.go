package route

import (
	"strings"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/dns64"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/plugin/pkg/limit"
)

func init() { plugin.Register(name, setup) }

// setup parses one `route` directive. Errors carry the Corefile's file and line.
func setup(c *caddy.Controller) error {
	d, err := parse(c)
	if err != nil {
		return plugin.Error(name, err)
	}
	r := &Route{route: d.route, nat64: wellKnownNAT64, answerOnError: d.answerOnError, errors: logonce.Every{Interval: reportPause}, labels: labelsOf(d.route)}
	r.limit = limit.New(d.limit)
	block := instance.Attach(c, d.config)
	block.Learn(d.at, d.route, d.sets)
	cfg := dnsserver.GetConfig(c)
	c.OnStartup(func() error {
		to := block.Dataplane().Route(d.route)
		if d.sets != nil {
			to = to.Into(*d.sets)
		}
		r.to = to
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
	at            corefile.Position
	route         string
	config        string
	sets          *nft.SetPair
	answerOnError bool
	limit         limit.Rate // of new addresses
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
		d.at = instance.Here(c)
		d.limit = limit.Default
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
		var err error
		if d.config, err = instance.ConfigFile(c, args); err != nil {
			return c.Errf("config: %v", err)
		}
	case "set":
		if len(args) != 4 || args[0] != "inet" {
			return c.Errf("set %q: want inet TABLE SET4 SET6, two sets of one inet table", strings.Join(args, " "))
		}
		d.sets = &nft.SetPair{
			Set4: nft.SetRef{Family: args[0], Table: args[1], Name: args[2]},
			Set6: nft.SetRef{Family: args[0], Table: args[1], Name: args[3]},
		}
	case "on_error":
		if len(args) != 1 || args[0] != "servfail" && args[0] != "answer" {
			return c.Errf("on_error %q: want servfail (the default) or answer", strings.Join(args, " "))
		}
		d.answerOnError = args[0] == "answer"
	case "new_addresses":
		var err error
		if d.limit, err = limit.Parse(args); err != nil {
			return c.Errf("new_addresses %v", err)
		}
	default:
		return c.Errf("unknown property %q: want config, set, on_error or new_addresses", key)
	}
	return nil
}
