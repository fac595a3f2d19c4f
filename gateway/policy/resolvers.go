package policy

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
)

// systemResolvers are the files in which a system names the resolvers of the WAN:
// the usual one, which may name only a stub or ourselves, and then those of
// systemd-resolved, NetworkManager and OpenWrt.
var systemResolvers = [...]string{
	"/etc/resolv.conf",
	"/run/systemd/resolve/resolv.conf",
	"/run/NetworkManager/no-stub-resolv.conf",
	"/tmp/resolv.conf.d/resolv.conf.auto",
}

// WANResolvers are the resolvers that are asked by the WAN: the user's, else the
// system's, without the box itself, which is what asks.
func WANResolvers(cfg *gateway.Config) ([]netip.AddrPort, error) {
	if len(cfg.WANResolvers) > 0 {
		return cfg.WANResolvers, nil
	}
	own, err := ownAddrs()
	if err != nil {
		return nil, err
	}
	for _, file := range systemResolvers {
		conf, err := dns.ClientConfigFromFile(file)
		if err != nil {
			continue // most systems have only one of them
		}
		var servers []netip.AddrPort
		for _, s := range conf.Servers {
			a, err := netip.ParseAddr(s)
			if err == nil && !a.IsLoopback() && !a.IsUnspecified() && !own[a.WithZone("")] {
				servers = append(servers, netip.AddrPortFrom(a, 53))
			}
		}
		if len(servers) > 0 {
			return servers, nil
		}
	}
	return nil, fmt.Errorf("no resolver of the WAN is known: want wan_resolvers in %s, or a nameserver that is not this box in %s",
		cfg.File, systemResolvers[0])
}

func ownAddrs() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("ip address: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	return own, nil
}
