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

// setup reads the directive and touches nothing: CoreDNS runs it, too, for a
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
	// The function is called once for each socket of the block: one handler for all.
	dnsserver.GetConfig(c).AddPlugin(func(plugin.Handler) plugin.Handler { return u })
	return nil
}
