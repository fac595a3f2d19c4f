package dnshalf

import (
	"net/netip"

	"github.com/nameroute/nameroute/gateway"
)

func wanResolvers(cfg *gateway.Config) []netip.AddrPort {
	return cfg.WANResolvers
}
