package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// Sysctl is what one interface needs.
type Sysctl struct {
	Link  string
	Loose Loose
	RA    bool // keeps accepting router advertisements when forwarding is enabled
}

// Loose says when the interface's reverse-path filter is set to loose (2). A strict filter
// drops the replies of a route's flows, because table main would not route their sources
// via that interface.
type Loose string

// A tunnel of ours has no filter; where `all` sets one, which it cannot be exempt from,
// it is loose. No filter is better: a loose one drops packets from sources that table main
// has no route to, and a WAN without IPv4 has no IPv4 default. The filter of any other
// interface is changed only where it is strict.
const (
	LooseAlways   Loose = "always"
	LooseIfStrict Loose = "if strict"
)

func (s Sysctl) text() string {
	line := fmt.Sprintf("net.ipv4.conf.%s.rp_filter = 0, 2 if all's is not 0", s.Link)
	if s.Loose == LooseIfStrict {
		line = fmt.Sprintf("net.ipv4.conf.%s.rp_filter = 2 if strict", s.Link)
	}
	if s.RA {
		line += fmt.Sprintf("\nnet.ipv6.conf.%s.accept_ra = 2 if 1", s.Link)
	}
	return line
}

// sysctls returns the settings of every interface that a wanted route leaves by.
func sysctls(cfg *gateway.Config, in Inputs, routes []KernelRoute) []Sysctl {
	var out []Sysctl
	add := func(link string, loose Loose) {
		if _, ok := in.link(link); ok && !slices.ContainsFunc(out, func(s Sysctl) bool { return s.Link == link }) {
			out = append(out, Sysctl{Link: link, Loose: loose, RA: loose == LooseIfStrict && !slices.Contains(cfg.LAN, link)})
		}
	}
	for _, r := range cfg.Routes {
		if r.Egress.Kind == gateway.EgressWireGuard {
			add(r.Egress.Link, LooseAlways)
		}
	}
	for _, r := range cfg.AllRoutes() {
		if r.Egress.Link != "" {
			add(r.Egress.Link, LooseIfStrict)
		}
	}
	for _, link := range append(LinksOf(routes), uplinks(cfg, in.Defaults)...) {
		add(link, LooseIfStrict)
	}
	slices.SortFunc(out, func(a, b Sysctl) int { return strings.Compare(a.Link, b.Link) })
	return out
}
