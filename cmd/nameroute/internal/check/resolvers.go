package check

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
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
		r.warn("the names of list servers and WireGuard endpoints cannot be resolved: %v", err)
	default:
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
