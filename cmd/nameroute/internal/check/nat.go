package check

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
)

// checkNAT checks that a rule translates the LAN's source addresses on the WAN. That is
// left to the box's own firewall; without it no replies come back.
func (h *host) checkNAT(core *corefile.File, r *report) {
	if h.cfg.WANGroup != nil && !h.cfg.WANNoSNAT {
		return // it is ours
	}
	by := "to names on no list"
	if _, ok := h.cfg.ClientsDefault(); ok {
		if !clientsUseWAN(h.cfg, core) {
			return
		}
		by = "to what takes the WAN"
	}
	for _, lan := range h.lan {
		private := privateNetworks(lan)
		if len(private) == 0 {
			continue
		}
		for _, wan := range h.wan {
			if wan == lan || h.rules.TranslatesSource(wan) || h.legacyTranslates(wan) {
				continue
			}
			r.warn("no source NAT for %s (%s) on %s: connections %s get no replies: nft add table ip nat; nft 'add chain ip nat postrouting { type nat hook postrouting priority srcnat; }'; nft add rule ip nat postrouting oifname %s masquerade (not needed if the router behind %s has a route back)",
				lan, strings.Join(private, ", "), wan, by, wan, wan)
		}
	}
}

// clientsUseWAN reports whether anything of clients leaves via the WAN although they have a
// default route. Without a Corefile it may.
func clientsUseWAN(cfg *gateway.Config, core *corefile.File) bool {
	return core == nil || len(cfg.WANTakes.Prefixes)+len(cfg.Exclude) > 0 ||
		slices.ContainsFunc(core.Blocks, func(b corefile.Block) bool { return b.Route != nil && b.Route.Name == gateway.WAN }) ||
		slices.ContainsFunc(cfg.Clients, func(c gateway.Clients) bool { return c.HasClients() && c.Route == gateway.WAN }) ||
		slices.ContainsFunc(cfg.Routes, func(r gateway.Route) bool { return r.OnDown == gateway.FallBack })
}

// privateNetworks returns an interface's IPv4 networks that are not routed on the
// internet (RFC 1918, RFC 6598).
func privateNetworks(link string) []string {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil // reported by checkLinks
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	shared := netip.MustParsePrefix("100.64.0.0/10")
	var private []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && (p.Addr().IsPrivate() || shared.Contains(p.Addr())) {
			private = append(private, p.Masked().String())
		}
	}
	return private
}

// legacyTranslates reports whether iptables-legacy, whose rules nftables does not show,
// may translate source addresses on an interface. Where they cannot be read, they may.
func (h *host) legacyTranslates(out string) bool {
	tables, _ := h.Read("/proc/thread-self/net/ip_tables_names") // without the file it is not in use
	if !slices.Contains(strings.Fields(tables), "nat") {
		return false
	}
	text, err := exec.Command("iptables-legacy-save", "-t", "nat").Output()
	return err != nil || savedTranslates(text, out)
}

// savedTranslates searches the output of iptables-save for source NAT on an interface.
func savedTranslates(text []byte, out string) bool {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || f[0] != "-A" {
			continue
		}
		target := wordAfter(f, "-j")
		if target != "MASQUERADE" && target != "SNAT" && target != "NETMAP" {
			continue
		}
		link := wordAfter(f, "-o")
		match := link == "" || link == out
		if prefix, wild := strings.CutSuffix(link, "+"); wild {
			match = strings.HasPrefix(out, prefix)
		}
		if i := slices.Index(f, "-o"); i > 0 && f[i-1] == "!" {
			match = !match
		}
		if match {
			return true
		}
	}
	return false
}

// wordAfter returns the word that follows a flag, "" without the flag.
func wordAfter(words []string, flag string) string {
	if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// checkLegacyForward finds a FORWARD chain of iptables-legacy that drops the LAN's packets.
func (h *host) checkLegacyForward(r *report) {
	tables, _ := h.Read("/proc/thread-self/net/ip_tables_names")
	if !slices.Contains(strings.Fields(tables), "filter") {
		return
	}
	text, err := exec.Command("iptables-legacy-save", "-t", "filter").Output()
	if err != nil {
		r.unknown("firewall: iptables-legacy is in use and cannot be read: %v: make sure that its chain FORWARD accepts packets from %s", err, strings.Join(h.lan, ", "))
		return
	}
	for _, lan := range h.lan {
		if savedDrops(text, lan) {
			r.warn("firewall: chain FORWARD of iptables-legacy drops packets from %[1]s: iptables-legacy -I FORWARD -i %[1]s -j ACCEPT; iptables-legacy -I FORWARD -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", lan)
		}
	}
}

// savedDrops reports whether the output of iptables-save has a FORWARD policy of DROP, and
// no rule that accepts what an interface receives.
func savedDrops(text []byte, in string) bool {
	drops := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		l := lines.Text()
		f := strings.Fields(l)
		switch {
		case strings.HasPrefix(l, ":FORWARD DROP"):
			drops = true
		case len(f) > 0 && f[0] == "-A" && wordAfter(f, "-j") == "ACCEPT" && wordAfter(f, "--ctstate") != "RELATED,ESTABLISHED":
			if link := wordAfter(f, "-i"); link == in || link == "" && wordAfter(f, "-o") == "" {
				return false
			}
		}
	}
	return drops
}
