// Package ownaddrs tells the addresses of the box.
package ownaddrs

import (
	"fmt"
	"net"
	"net/netip"
)

// Read returns the addresses of the box's interfaces, without zones.
func Read() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("ip address: %w", err)
	}
	own := map[netip.Addr]bool{}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap().WithZone("")] = true
		}
	}
	return own, nil
}
