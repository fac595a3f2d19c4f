package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/gateway/policy"
)

// faraway are destinations in the internet that no box has a kernel route of their own to:
// root servers. Nothing is sent to them.
var faraway = map[gateway.Family]netip.Addr{
	gateway.V4: netip.MustParseAddr("193.0.14.129"), gateway.V6: netip.MustParseAddr("2001:7fd::1"),
}

// Egresses asks the kernel which way packets of each route take, the box's own and those of
// clients, as its policy rules are now. It sends nothing.
func Egresses(cfg *gateway.Config) []status.Finding {
	states, err := policy.Routes(cfg)
	if err != nil {
		return one(status.LevelUnknown, "ways of packets: %v", err)
	}
	var found []status.Finding
	for _, route := range cfg.AllRoutes() {
		found = append(found, egressOf(cfg, route, states[route.Name]))
	}
	return found
}

// egressOf asks for one route.
func egressOf(cfg *gateway.Config, route gateway.Route, s policy.RouteState) status.Finding {
	if missing, err := missingRule(route, gateway.Families[:]...); err != nil {
		return status.Found(status.LevelUnknown, "route %s: %v", route.Name, err)
	} else if missing != "" {
		return status.Found(status.LevelUnknown, "route %s: %s, so which way its packets take is not known: nameroute run", route.Name, missing)
	}
	var from []string
	for _, f := range gateway.Families {
		up := f == gateway.V4 && s.Default4 || f == gateway.V6 && s.Default6
		for _, lan := range append([]string{""}, cfg.LAN...) {
			link, asked, err := lookUp(route.Mark, f, lan)
			whose := "of this box"
			if lan != "" {
				whose = "from " + lan
			}
			switch {
			case !asked:
				continue
			case err != nil && !up:
				continue // closed, as it is to be
			case err != nil:
				return status.Found(status.LevelError, "route %s: packets %s over IPv%d have no way out: ip route get %s mark %#x: %v", route.Name, whose, f, faraway[f], route.Mark.Value, err)
			case !slices.Contains(s.Links, link):
				return status.Found(status.LevelError, "route %s: packets %s over IPv%d would leave by %s, not by %s, and are blocked: a policy rule before nameroute's decides (ip -%d rule): remove it, or set `priority:` before it in %s",
					route.Name, whose, f, link, none(s.Links), f, cfg.File)
			}
			if text := fmt.Sprintf("%s over IPv%d", whose, f); !slices.Contains(from, text) {
				from = append(from, text)
			}
		}
	}
	if len(from) == 0 {
		return status.Found(status.LevelOK, "route %s: it has no way out now, and its packets are blocked, says the kernel", route.Name)
	}
	return status.Found(status.LevelOK, "route %s: packets %s leave by %s, says the kernel", route.Name, strings.Join(from, ", "), strings.Join(s.Links, ", "))
}

func none(links []string) string {
	if len(links) == 0 {
		return "any link, since it is down"
	}
	return strings.Join(links, ", ")
}

// missingRule says of which of the families no policy rule leads packets with a route's mark
// to its table; "" if of none. A family that the kernel does not have needs none.
func missingRule(route gateway.Route, families ...gateway.Family) (string, error) {
	const missing = "no policy rule leads to it"
	var of []string
	for _, f := range families {
		number := netlink.FAMILY_V4
		if f == gateway.V6 {
			number = netlink.FAMILY_V6
			if _, err := os.Stat("/proc/sys/net/ipv6"); errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		rules, err := nlretry.Dump(func() ([]netlink.Rule, error) { return netlink.RuleList(number) })
		if err != nil {
			return "", fmt.Errorf("ip -%d rule: %w", f, err)
		}
		if !slices.ContainsFunc(rules, func(r netlink.Rule) bool { return r.Mark == route.Mark.Value && r.Table == route.Table }) {
			of = append(of, fmt.Sprintf("over IPv%d", f))
		}
	}
	switch len(of) {
	case 0:
		return "", nil
	case len(families):
		return missing, nil
	}
	return missing + " " + strings.Join(of, ", "), nil
}

// lookUp returns the link by which a packet leaves that has a mark, and that a client sent
// which is behind lan; "" is the box itself. It does not ask for a LAN without an address of
// the family.
func lookUp(mark gateway.Mark, f gateway.Family, lan string) (link string, asked bool, err error) {
	options := &netlink.RouteGetOptions{Mark: mark.Value}
	if lan != "" {
		client, ok := clientOf(lan, f)
		if !ok {
			return "", false, nil
		}
		options.Iif, options.SrcAddr = lan, client.AsSlice()
	}
	routes, err := netlink.RouteGetWithOptions(faraway[f].AsSlice(), options)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return "", false, nil
	}
	if err != nil || len(routes) == 0 {
		return "", true, err
	}
	l, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return "", true, err
	}
	return l.Attrs().Name, true, nil
}

// clientOf returns an address that a client behind a link may have.
func clientOf(lan string, f gateway.Family) (netip.Addr, bool) {
	for _, p := range prefixesOf(lan) {
		if gateway.FamilyOf(p.Addr()) != f || p.IsSingleIP() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		client := p.Masked().Addr().Next()
		if client == p.Addr() {
			client = client.Next()
		}
		if p.Contains(client) {
			return client, true
		}
	}
	return netip.Addr{}, false
}

func prefixesOf(link string) []netip.Prefix {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return nil
	}
	addrs, err := i.Addrs()
	if err != nil {
		return nil
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// wrongEgress says by which other link a packet of the box to an address would leave that is
// to leave through a route; "" where it leaves as it should.
func wrongEgress(route gateway.Route, s policy.RouteState, to netip.Addr) string {
	routes, err := netlink.RouteGetWithOptions(to.WithZone("").AsSlice(), &netlink.RouteGetOptions{Mark: route.Mark.Value})
	if err != nil || len(routes) == 0 {
		return fmt.Sprintf("the kernel has no way to %s: %v", to, err)
	}
	l, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return err.Error()
	}
	if !slices.Contains(s.Links, l.Attrs().Name) {
		return fmt.Sprintf("it would leave by %s, not by %s", l.Attrs().Name, none(s.Links))
	}
	return ""
}
