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
	// Closed says that the far end must not say which way packets take: no redirects
	// (RFC 1812 5.2.7.2), and none of its packets names its own way (RFC 7126 4.3).
	Closed bool
}

// Loose says when the interface's reverse-path filter is set to loose (2). A strict filter
// drops the replies of a route's flows, because table main would not route their sources
// via that interface.
type Loose string

// A tunnel of ours has no filter; where `all` sets one, which it cannot be exempt from,
// it is loose. No filter is better: a loose one drops packets from sources that table main
// has no route to, and a WAN without IPv4 has no IPv4 default. The same holds for another
// egress's interface while there is none. The filter of any other interface is changed only
// where it is strict.
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
	if s.Closed {
		line += fmt.Sprintf("\nnet.ipv[46].conf.%s.accept_redirects, accept_source_route = 0", s.Link)
	}
	return line
}

// sysctls returns the settings of every interface that a wanted route leaves by.
func sysctls(cfg *gateway.Config, in Inputs, routes []KernelRoute) []Sysctl {
	var out []Sysctl
	tunnel := map[string]bool{}
	add := func(link string, loose Loose) {
		if _, ok := in.link(link); ok && !slices.ContainsFunc(out, func(s Sysctl) bool { return s.Link == link }) {
			out = append(out, Sysctl{Link: link, Loose: loose, RA: !tunnel[link] && !slices.Contains(cfg.LAN, link),
				Closed: slices.Contains(EgressLinks(cfg), link) && !slices.Contains(cfg.LAN, link)})
		}
	}
	for _, r := range cfg.Routes {
		if r.Egress.Kind == gateway.EgressWireGuard {
			tunnel[r.Egress.Link] = true
			add(r.Egress.Link, LooseAlways)
		}
	}
	for _, r := range cfg.AllRoutes() {
		if r.Egress.Kind == gateway.EgressInterface && !slices.Contains(cfg.LAN, r.Egress.Link) && onlyIPv6(cfg, in) {
			add(r.Egress.Link, LooseAlways)
		} else if r.Egress.Link != "" {
			add(r.Egress.Link, LooseIfStrict)
		}
	}
	for _, link := range append(LinksOf(routes), uplinks(cfg, in.Defaults)...) {
		add(link, LooseIfStrict)
	}
	slices.SortFunc(out, func(a, b Sysctl) int { return strings.Compare(a.Link, b.Link) })
	return out
}

// onlyIPv6 reports whether the WAN has defaults, but none of IPv4.
func onlyIPv6(cfg *gateway.Config, in Inputs) bool {
	all := notOnEgresses(cfg, in.Defaults)
	return len(all) > 0 && !slices.ContainsFunc(all, func(r KernelRoute) bool { return r.Family == gateway.V4 })
}

func (s *sysctlStore) loose(w Sysctl) ([]setting, error) {
	name := "net/ipv4/conf/" + w.Link + "/rp_filter"
	all, _, err := s.get("net/ipv4/conf/all/rp_filter")
	if err != nil {
		return nil, err
	}
	if w.Loose == LooseIfStrict {
		own, _, err := s.get(name)
		if err != nil || max(own, all) != "1" { // the kernel takes the higher one
			return nil, err
		}
	} else if all == "0" {
		return []setting{{name, "0"}}, nil
	}
	return []setting{{name, "2"}}, nil
}

// advertisements returns the setting that keeps an interface accepting router
// advertisements when forwarding is enabled (accept_ra=1 means only while not
// forwarding). Where the box forwarded already, nothing would change, and nothing is set.
func (s *sysctlStore) advertisements(w Sysctl) ([]setting, error) {
	if !w.RA {
		return nil, nil
	}
	name := "net/ipv6/conf/" + w.Link + "/accept_ra"
	accept, ok, err := s.get(name)
	if err != nil || !ok || accept != "1" {
		return nil, err
	}
	forwards, _, err := s.get("net/ipv6/conf/" + w.Link + "/forwarding")
	v := s.saved.Values[forward6]
	if ours := v.Was != v.Set; err != nil || forwards != "0" && !ours {
		return nil, err
	}
	return []setting{{name, "2"}}, nil
}

// closed returns the settings that keep the far end from saying which way packets take. For
// IPv4 the kernel asks those of all interfaces, too, which others may enable at any time. For
// IPv6 a negative accept_source_route refuses more than 0.
func (s *sysctlStore) closed(w Sysctl) (settings []setting, err error) {
	if !w.Closed {
		return nil, nil
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		for _, what := range []string{"accept_redirects", "accept_source_route"} {
			name := "net/" + family + "/conf/" + w.Link + "/" + what
			now, ok, err := s.get(name)
			if err != nil {
				return nil, err
			}
			if ok && !strings.HasPrefix(now, "-") {
				settings = append(settings, setting{name, "0"})
			}
		}
	}
	return settings, nil
}
