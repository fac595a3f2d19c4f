package check

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/nftsim"
	"github.com/nameroute/nameroute/gateway/firewall"
)

// checkForward finds chains that drop the LAN's packets to a route's egress. Each is
// reported once.
func (h *host) checkForward(r *report) {
	for _, lan := range h.lan {
		var seen []nftsim.Key
		for _, out := range h.exits() {
			for _, v6 := range []bool{false, true} {
				c := h.rules.Drops(*nftables.ChainHookForward, nftsim.Flow{In: lan, Out: out, IPv6: v6})
				if c == nil || slices.Contains(seen, c.Key) {
					continue
				}
				seen = append(seen, c.Key)
				r.warn("firewall: chain %s drops packets from %s to %s: %s", c, lan, out, forwardRemedy(h.rules.Manager(c.Key), c, lan, out))
			}
		}
	}
}

func forwardRemedy(manager string, c *nftsim.Chain, lan, out string) string {
	switch manager {
	case "Docker":
		return fmt.Sprintf("Docker sets that policy: iptables -I DOCKER-USER -i %[1]s -j ACCEPT; iptables -I DOCKER-USER -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", lan)
	case "ufw":
		return fmt.Sprintf("ufw route allow in on %s out on %s", lan, out)
	case "firewalld":
		return fmt.Sprintf("add %s to a zone (firewall-cmd --permanent --zone=external --add-interface=%s) and allow the zone of %s to reach it with a policy of target ACCEPT", out, out, lan)
	case "fw4":
		return fmt.Sprintf("in /etc/config/firewall, put %s into a zone and allow forwarding from the zone of %s to it", out, lan)
	case "iptables":
		return fmt.Sprintf("iptables -I %[1]s -i %[2]s -j ACCEPT; iptables -I %[1]s -o %[2]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT (and ip6tables)", c.Name(), lan)
	}
	return fmt.Sprintf("nft insert rule %[1]s iifname %[2]s accept; nft insert rule %[1]s oifname %[2]s ct state established,related accept; add to its ruleset file too", c, lan)
}

// checkInput finds chains that drop the LAN's queries to this box.
func (h *host) checkInput(r *report, listeners []firewall.Listener) {
	for _, lan := range h.lan {
		var seen []nftsim.Key
		for _, l := range listeners {
			if l.Addr.IsValid() && l.Addr.IsLoopback() {
				continue
			}
			proto := byte(unix.IPPROTO_TCP)
			if l.Proto == "udp" {
				proto = unix.IPPROTO_UDP
			}
			for _, v6 := range []bool{false, true} {
				c := h.rules.Drops(*nftables.ChainHookInput, nftsim.Flow{In: lan, IPv6: v6, Proto: proto, Port: l.Port})
				if c == nil || slices.Contains(seen, c.Key) || l.Addr.IsValid() && l.Addr.Is6() != v6 {
					continue
				}
				seen = append(seen, c.Key)
				r.warn("firewall: chain %s drops queries from %s to %s port %d: %s", c, lan, l.Proto, l.Port, inputRemedy(h.rules.Manager(c.Key), c, lan, l.Port))
			}
		}
	}
}

func inputRemedy(manager string, c *nftsim.Chain, lan string, port uint16) string {
	switch manager {
	case "ufw":
		return fmt.Sprintf("ufw allow in on %s to any port %d", lan, port)
	case "firewalld":
		return fmt.Sprintf("firewall-cmd --permanent --zone=$(firewall-cmd --get-zone-of-interface=%s) --add-service=dns; firewall-cmd --reload", lan)
	case "fw4":
		return fmt.Sprintf("in /etc/config/firewall, set `option input ACCEPT` for the zone of %s", lan)
	case "iptables", "Docker":
		return fmt.Sprintf("iptables -I %[1]s -i %[2]s -p udp --dport %[3]d -j ACCEPT; iptables -I %[1]s -i %[2]s -p tcp --dport %[3]d -j ACCEPT (and ip6tables)", c.Name(), lan, port)
	}
	return fmt.Sprintf("nft insert rule %s iifname %s meta l4proto { tcp, udp } th dport %d accept; add to its ruleset file too", c, lan, port)
}

// exits returns the interfaces that the LAN's packets leave by, those of routes first.
func (h *host) exits() []string {
	var out []string
	for _, l := range slices.Concat(h.egresses, h.wan) {
		if !slices.Contains(out, l) && !slices.Contains(h.lan, l) {
			out = append(out, l)
		}
	}
	return out
}
