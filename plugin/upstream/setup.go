package upstream

import (
	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

var log = clog.NewWithPlugin("upstream")

func init() { plugin.Register("upstream", setup) }

// setup parses the directive and has no side effects: CoreDNS also runs it for a
// Corefile that it then rejects.
func setup(c *caddy.Controller) error {
	o, err := parse(c)
	if err != nil {
		return plugin.Error("upstream", err)
	}
	u := newUpstream(o, nil)
	block := instance.Attach(c, o.config)
	block.Query(o.at, o.route, u.report)
	cfg := dnsserver.GetConfig(c)
	c.OnStartup(func() error {
		if o.subnets.Keep && cfg.Handler("cache") != nil {
			return plugin.Error("upstream", o.at.Errorf("%w", instance.ErrKeptAndCached))
		}
		u.learned = cfg.Handler("route") != nil || cfg.Handler("listed") != nil
		u.status = block.Dataplane().Route(o.route).State
		return u.onStartup()
	})
	c.OnShutdown(u.onShutdown)
	// CoreDNS calls the function once for each socket of the block; all share one handler.
	cfg.AddPlugin(func(plugin.Handler) plugin.Handler { return u })
	return nil
}
