// Package bindaddr finds the addresses that a bind directive names at one moment.
package bindaddr

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// Nowhere is what a block is bound to while the interfaces that it names have no address:
// RFC 7600 gives no host this one, so nothing can reach it there.
const Nowhere = "192.0.0.8"

// Check returns an error for an argument that is neither an address nor a possible name of
// an interface.
func Check(arg string) error {
	if _, err := netip.ParseAddr(arg); err == nil {
		return nil
	}
	if len(arg) > gateway.MaxInterfaceName || strings.ContainsAny(arg, "/: ") || strings.Trim(arg, "0123456789.") == "" {
		return fmt.Errorf("%q is neither an address nor the name of an interface", arg)
	}
	return nil
}

// Of returns the addresses that arguments name now, without those that except names, and
// the interfaces among the arguments that have none, or do not exist. Without any address it
// returns Nowhere.
func Of(args, except []string) (hosts, without []string) {
	hosts, without = resolve(args)
	excepted, _ := resolve(except)
	hosts = slices.DeleteFunc(hosts, func(h string) bool { return slices.Contains(excepted, h) })
	if len(hosts) == 0 {
		hosts = []string{Nowhere}
	}
	return hosts, without
}

func resolve(args []string) (hosts, without []string) {
	for _, arg := range args {
		found := []string{arg}
		if _, err := netip.ParseAddr(arg); err != nil {
			if found = addressesOf(arg); len(found) == 0 {
				without = append(without, arg)
			}
		}
		for _, h := range found {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts, without
}

// addressesOf returns the addresses of an interface, link-local ones with their zone.
func addressesOf(link string) (all []string) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := p.Addr()
		if addr.Is6() && addr.IsLinkLocalUnicast() {
			addr = addr.WithZone(link)
		}
		all = append(all, addr.String())
	}
	return all
}
