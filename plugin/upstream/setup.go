package upstream

import (
	"fmt"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	clog "github.com/coredns/coredns/plugin/pkg/log"

	"github.com/nameroute/nameroute/plugin/dnshalf"
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
	h, err := dnshalf.Attach(c, o.config)
	if err != nil {
		return plugin.Error("upstream", err) // it names its own file and lines
	}
	route, err := h.Route(o.route)
	if err != nil {
		return plugin.Error("upstream", fmt.Errorf("%s: %w", o.at, err))
	}
	u := newUpstream(o, route.Status)
	h.OnStatus(u.report)
	c.OnStartup(u.onStartup)
	c.OnShutdown(u.onShutdown)
	// CoreDNS calls the function once for each socket of the block; all share one handler.
	dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return u })
	return nil
}
