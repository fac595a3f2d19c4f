package probe

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
)

// clients queries the listeners at the addresses that clients use. The queries come from
// this box: what its firewall does to those of clients is checked by its rules.
func clients(ctx context.Context, o Options) []status.Finding {
	if !o.Running {
		return one(status.LevelUnknown, "what clients get: nothing runs: nameroute run")
	}
	var found []status.Finding
	asked := 0
	for _, lan := range o.Config.LAN {
		for _, p := range prefixesOf(lan) {
			if p.Addr().IsLinkLocalUnicast() {
				continue
			}
			ports := portsAt(o, p.Addr())
			for _, port := range ports {
				asked++
				at := netip.AddrPortFrom(p.Addr(), port)
				transport := dns.Client{Net: "udp", Timeout: 2 * attemptLimit}
				reply, took, err := ask(ctx, &transport, at.String())
				switch {
				case err != nil:
					found = append(found, status.Found(status.LevelError, "clients of %s: no answer from %s: %v", lan, at, err))
				case reply.Rcode != dns.RcodeSuccess:
					found = append(found, status.Found(status.LevelWarning, "clients of %s: %s answers the query for the root's servers with %s", lan, at, dns.RcodeToString[reply.Rcode]))
				default:
					found = append(found, status.Found(status.LevelOK, "clients of %s: %s answers, in %v", lan, at, took.Round(time.Millisecond/10)))
				}
			}
			if len(ports) == 0 {
				found = append(found, status.Found(status.LevelWarning, "clients of %s: nothing listens at %s over UDP: see `bind` in the Corefile", lan, p.Addr()))
			}
		}
	}
	if asked == 0 && len(found) == 0 && len(o.Config.LAN) > 0 {
		return one(status.LevelUnknown, "what clients get: no interface of lan has an address")
	}
	return found
}

// portsAt returns the ports at which plain DNS is answered at an address.
func portsAt(o Options, a netip.Addr) []uint16 {
	var ports []uint16
	for _, l := range o.Listeners {
		at := l.Addr.IsValid() && !l.Addr.IsUnspecified()
		if l.DNS && l.Proto == "udp" && (!at || l.Addr == a) && !slices.Contains(ports, l.Port) {
			ports = append(ports, l.Port)
		}
	}
	return ports
}
