// Package resolvers finds the resolvers of the WAN: those that gateway.yaml names, else
// those that the system or its DHCP client, PPP daemon or router advertisements have
// recorded. The box itself is never one of them, because the query would come back.
package resolvers

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Found describes the resolvers of the WAN.
type Found struct {
	Servers []netip.AddrPort // in the order in which to query them
	Source  string           // the file that names them, or several with commas
	Self    string           // "FILE:LINE: nameserver ADDRESS" where resolv.conf names this box; ""
}

// Find returns the resolvers that are queried via the WAN. Its error names what it
// found instead and what to write into gateway.yaml; Found.Self is set then, too.
func Find(cfg *gateway.Config) (Found, error) {
	if len(cfg.WANResolvers) > 0 {
		return Found{Servers: cfg.WANResolvers, Source: cfg.File}, nil
	}
	own, err := policy.OwnAddrs()
	if err != nil {
		return Found{}, err
	}
	return find(cfg, "", own)
}

// find is Find below a root directory, for tests.
func find(cfg *gateway.Config, root string, own map[netip.Addr]bool) (Found, error) {
	egresses := policy.EgressLinks(cfg)
	var found Found
	var self entry
	for _, s := range sources {
		var files []string
		for _, e := range s.read(root) {
			switch {
			case !usable(cfg, e.link, egresses):
			case isSelf(e.addr, own):
				if e.file == resolvConf && self.file == "" {
					self, found.Self = e, e.String()
				}
			default:
				server := netip.AddrPortFrom(e.addr, 53)
				if !slices.Contains(found.Servers, server) {
					found.Servers = append(found.Servers, server)
				}
				if !slices.Contains(files, e.file) {
					files = append(files, e.file)
				}
			}
		}
		if len(found.Servers) > 0 {
			found.Source = strings.Join(files, ", ")
			return found, nil
		}
	}
	return found, unknown(cfg, self)
}

// usable reports whether a record of this link may name resolvers of the WAN; "" is a
// record that names no link. Those of a tunnel or of the LAN belong to that.
func usable(cfg *gateway.Config, link string, egresses []string) bool {
	switch {
	case link == "":
		return true
	case cfg.WANLink != "":
		return link == cfg.WANLink
	}
	return link != "lo" && !slices.Contains(cfg.LAN, link) && !slices.Contains(egresses, link)
}

func isSelf(a netip.Addr, own map[netip.Addr]bool) bool {
	return a.IsLoopback() || a.IsUnspecified() || own[a.WithZone("")]
}

// resolvedStubs are the addresses of systemd-resolved's stub listeners.
var resolvedStubs = []netip.Addr{netip.MustParseAddr("127.0.0.53"), netip.MustParseAddr("127.0.0.54")}

func unknown(cfg *gateway.Config, self entry) error {
	file := cfg.File
	if file == "" {
		file = gateway.DefaultFile
	}
	what := resolvConf + ": names no resolver"
	switch {
	case slices.Contains(resolvedStubs, self.addr):
		what = self.String() + ": is systemd-resolved's stub, which has no resolver of the WAN either"
	case self.file != "":
		what = self.String() + ": is this box, which cannot query itself"
	}
	return fmt.Errorf("no resolver of the WAN is known: %s: set `wan_resolvers: [ADDRESS]` in %s", what, file)
}
