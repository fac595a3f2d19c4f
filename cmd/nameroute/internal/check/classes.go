package check

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/gateway"
)

// checkClasses finds classes that miss packets of their clients, and reports what classes can
// reach beside their routes.
func (h *host) checkClasses(r *report) {
	nets, err := connectedNetworks()
	if err != nil {
		return // reported by checkUpstreams
	}
	for _, class := range h.cfg.Clients {
		if class.HasClients() && len(class.MACs)+len(class.Links) == 0 {
			h.checkClassFamilies(class, nets, r)
		}
		for _, mac := range class.MACs {
			if mac[0]&2 != 0 {
				r.ok("clients.%s: %s was not given by a manufacturer: a client that draws an address for each network has it only as long as it draws no other", class.Name, mac)
			}
		}
		if h.rules != nil {
			h.checkClassReach(class, r)
		}
	}
}

// checkClassFamilies finds a class that is told by prefixes of one family alone, where its
// clients have addresses of the other, too.
func (h *host) checkClassFamilies(class gateway.Clients, nets []connected, r *report) {
	for family, is6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		var with []string
		for _, n := range nets {
			if n.own.Is6() == is6 && !n.own.IsLinkLocalUnicast() && slices.Contains(h.lan, n.link) && !slices.Contains(with, n.link) {
				with = append(with, n.link)
			}
		}
		told := slices.ContainsFunc(class.Prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() == is6 })
		if !told && len(with) > 0 {
			r.warn("clients.%s: no prefix of it is %s, and clients on %s have %s: such packets and queries of its clients are everybody's: add their addresses, or use mac:", class.Name, family, strings.Join(with, ", "), family)
		}
	}
}

// checkClassReach reports which other networks of lan a class's network reaches: they come
// before all routes.
func (h *host) checkClassReach(class gateway.Clients, r *report) {
	for _, in := range class.Links {
		var reached []string
		for _, out := range h.lan {
			if slices.Contains(class.Links, out) || !slices.Contains(h.lan, in) {
				continue
			}
			for _, v6 := range []bool{false, true} {
				if h.rules.Drops(*nftables.ChainHookForward, nftsim.Flow{In: in, Out: out, IPv6: v6}) == nil && !slices.Contains(reached, out) {
					reached = append(reached, out)
				}
			}
		}
		if len(reached) > 0 {
			r.ok("clients.%s: %s reaches %s, as far as the firewall goes: for guests: nft insert rule inet filter forward iifname %s oifname %s drop", class.Name, in, strings.Join(reached, ", "), in, reached[0])
		}
	}
}
