package instance

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/plugin/pkg/bindaddr"
)

// listeners returns the addresses and ports that answer for the zones.
func listeners(zones []zone) []firewall.Listener {
	var all []firewall.Listener
	var classes []string
	for _, z := range zones {
		if z.class != "" && !slices.Contains(classes, z.class) {
			classes = append(classes, z.class)
		}
	}
	for _, z := range zones {
		port, err := strconv.ParseUint(z.port, 10, 16)
		if err != nil {
			continue // a block without a port has no listener
		}
		for _, host := range z.hosts {
			if host == bindaddr.Nowhere {
				continue // no client reaches it
			}
			for _, proto := range protocols(z.transport) {
				l := firewall.Listener{Addr: listenAddr(host), Proto: proto, Port: uint16(port), DNS: z.transport == "dns"}
				l.Class, l.For = ownListener(classes, l.Port)
				if !slices.Contains(all, l) {
					all = append(all, l)
				}
			}
		}
	}
	return all
}

// ownListener returns the class of clients whose own listener has a port, and the port in
// place of which it has it.
func ownListener(classes []string, port uint16) (class string, instead uint16) {
	for _, class := range classes {
		for _, p := range gateway.ClassPorts {
			if gateway.ClassPort(class, p) == port {
				return class, p
			}
		}
	}
	return "", 0
}

// protocols returns those below a CoreDNS transport.
func protocols(transport string) []string {
	switch transport {
	case "dns":
		return []string{"udp", "tcp"}
	case "quic", "https3":
		return []string{"udp"}
	default: // tls, https, grpc
		return []string{"tcp"}
	}
}

// listenAddr parses a bind host; the zero Addr is all addresses.
func listenAddr(host string) netip.Addr {
	a, err := netip.ParseAddr(host)
	if err != nil || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}
