package check

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/gateway/resolvers"
)

// checkResolvers looks for the resolvers that are queried via the WAN. On a router that
// ran dnsmasq, resolv.conf names only the box itself, which cannot query itself.
func checkResolvers(cfg *gateway.Config, core *corefile.File, r *report) {
	found, err := resolvers.Find(cfg)
	switch {
	case err != nil && usesWANResolvers(core):
		r.wrong(exit.Host, fmt.Errorf("names on no list get SERVFAIL: %w", err))
	case err != nil:
		if names := listServers(cfg); len(names) > 0 {
			r.warn("%s cannot be resolved: %v", strings.Join(names, ", "), err)
		}
	}
	switch names := endpointNames(cfg); {
	case err != nil && len(names) > 0:
		r.wrong(exit.Host, fmt.Errorf("%s cannot be resolved, so the tunnel to it stays down: %w", strings.Join(names, ", "), err))
	case err == nil:
		var servers []string
		for _, s := range found.Servers {
			servers = append(servers, s.Addr().String())
		}
		r.ok("resolvers of the WAN: %s (%s)", strings.Join(servers, ", "), found.Source)
		if found.Self != "" {
			r.ok("%s is this box and is not queried", found.Self)
		}
	}
}

// usesWANResolvers reports whether a block's upstream takes the WAN's resolvers.
func usesWANResolvers(core *corefile.File) bool {
	if core == nil {
		return false
	}
	for _, b := range core.Blocks {
		if u := b.Upstream; u != nil && u.Route == gateway.WAN && len(u.Addresses) == 0 {
			return true
		}
	}
	return false
}

// listServers returns the names of list servers that the WAN's resolvers must resolve.
func listServers(cfg *gateway.Config) []string {
	var names []string
	for _, l := range cfg.Lists {
		if src, ok := cfg.Source(l.Name); ok && len(src.Resolvers) == 0 && (src.Via == "" || src.Via == gateway.WAN) {
			for _, text := range src.URLs {
				if u, err := url.Parse(text); err == nil {
					names = addName(names, u.Hostname())
				}
			}
		}
	}
	return names
}

// endpointNames returns the names of WireGuard endpoints, which the WAN's resolvers must
// resolve.
func endpointNames(cfg *gateway.Config) []string {
	var names []string
	for _, r := range cfg.Routes {
		if r.Egress.Kind != gateway.EgressWireGuard {
			continue
		}
		conf, err := provider.Load(r.Egress.File)
		if err != nil {
			continue // reported by checkProviders
		}
		for _, p := range conf.Peers {
			names = addName(names, p.Endpoint.Host)
		}
	}
	return names
}

// addName adds a host to names, unless it is an address or there already.
func addName(names []string, host string) []string {
	if _, err := netip.ParseAddr(host); err == nil || host == "" || slices.Contains(names, host) {
		return names
	}
	return append(names, host)
}
