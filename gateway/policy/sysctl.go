package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// Sysctl is what one interface must be set to.
type Sysctl struct {
	Link  string
	Loose Loose
	RA    bool // goes on taking router advertisements when forwarding is switched on
}

// Loose says whether the interface's reverse-path filter becomes loose (2). A
// strict one drops the replies of a route's flows, because table main would not
// send to their sources by that interface.
type Loose string

// A tunnel of ours has no filter, unless all interfaces have one, which it cannot be
// without: then it is loose. A loose one drops what comes from where table main has
// no way to at all, and a WAN without IPv4 has no IPv4 default. An interface of
// somebody else becomes loose only where its filter is strict.
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

// sysctls are those of every interface that a wanted route leaves by.
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
	for _, r := range routes {
		for _, link := range r.Links() {
			add(link, LooseIfStrict)
		}
	}
	slices.SortFunc(out, func(a, b Sysctl) int { return strings.Compare(a.Link, b.Link) })
	return out
}
