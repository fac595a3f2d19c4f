package check

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
)

// checkNAT looks for somebody who translates the LAN's sources to the WAN's address.
// That is the box's own firewall's business; without it answers never come back.
func (h *host) checkNAT(r *report) {
	for _, lan := range h.lan {
		private := privateNetworks(lan)
		if len(private) == 0 {
			continue
		}
		for _, wan := range h.wan {
			if wan == lan || h.rules.TranslatesSource(wan) || h.legacyTranslates(wan) {
				continue
			}
			r.warn("nobody translates the sources of %s (%s) at %s, so that what is on no list gets no answers: nft add table ip nat; nft 'add chain ip nat postrouting { type nat hook postrouting priority srcnat; }'; nft add rule ip nat postrouting oifname %s masquerade (not needed where the router behind %s has a route back)",
				lan, strings.Join(private, ", "), wan, wan, wan)
		}
	}
}

// privateNetworks are an interface's IPv4 networks that nobody beyond the WAN routes
// back (RFC 1918, RFC 6598).
func privateNetworks(link string) []string {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil // said where the interfaces are looked at
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

// legacyTranslates asks the old iptables, which nftables does not show. Where it is
// in use and cannot be asked, nothing is claimed.
func (h *host) legacyTranslates(out string) bool {
	tables, _ := h.Read("/proc/thread-self/net/ip_tables_names") // no file: not in use
	if !slices.Contains(strings.Fields(tables), "nat") {
		return false
	}
	text, err := exec.Command("iptables-legacy-save", "-t", "nat").Output()
	return err != nil || savedTranslates(text, out)
}

// savedTranslates reads what iptables-save prints.
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

func wordAfter(words []string, flag string) string {
	if i := slices.Index(words, flag); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}

// checkLegacyForward finds a closed FORWARD chain of the old iptables.
func (h *host) checkLegacyForward(r *report) {
	tables, _ := h.Read("/proc/thread-self/net/ip_tables_names")
	if !slices.Contains(strings.Fields(tables), "filter") {
		return
	}
	text, err := exec.Command("iptables-legacy-save", "-t", "filter").Output()
	if err != nil {
		r.warn("firewall: the old iptables is in use and cannot be read: %v: see that its chain FORWARD lets %s out", err, strings.Join(h.lan, ", "))
		return
	}
	for _, lan := range h.lan {
		if savedDrops(text, lan) {
			r.warn("firewall: chain FORWARD of the old iptables drops what %[1]s sends: iptables-legacy -I FORWARD -i %[1]s -j ACCEPT; iptables-legacy -I FORWARD -o %[1]s -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", lan)
		}
	}
}

// savedDrops: the policy is DROP and no rule accepts what comes in by an interface.
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
