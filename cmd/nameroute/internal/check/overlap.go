package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
)

// checkOverlap finds other programs' policy rules and kernel routes that conflict with
// nameroute's: rules on bits of its mask, among its rules or before them, routes in its tables.
func (h *host) checkOverlap(r *report) {
	routes := h.cfg.AllRoutes()
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		option := map[int]string{netlink.FAMILY_V4: "-4", netlink.FAMILY_V6: "-6"}[family]
		rules, err := nlretry.Dump(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		if err != nil {
			r.unknown("ip %s rule: %v: overlaps with other programs' rules are not checked", option, err)
			continue
		}
		for _, rule := range rules {
			leads := func() bool { return leadsOut(family, rule.Table) }
			if conflict := conflictOf(rule, h.cfg, routes, leads); conflict != "" {
				r.warn("ip %s rule %d of another program (%s): %s", option, rule.Priority, describeRule(rule), conflict)
			}
		}
		for _, route := range routes {
			if foreign := foreignRoutes(family, route.Table); foreign > 0 {
				r.warn("ip %s route show table %d: another program has %s in the table of route %s: choose another with `table:`", option, route.Table, output.Count(foreign, "route"), route.Name)
			}
		}
	}
}

// conflictOf describes the conflict of another program's policy rule with nameroute's, ""
// where there is none. leads reports whether its table has a way to the internet.
func conflictOf(rule netlink.Rule, cfg *gateway.Config, routes []gateway.Route, leads func() bool) string {
	if rule.Protocol == gateway.Protocol || rule.Table == 255 && rule.Priority == 0 {
		return ""
	}
	mask := uint32(0xffffffff)
	if rule.Mask != nil {
		mask = *rule.Mask
	}
	marked := rule.Mark != 0 || rule.Mask != nil
	i := slices.IndexFunc(routes, func(route gateway.Route) bool { return route.Table == rule.Table })
	last := cfg.LastRoutePriority() + 2
	switch {
	case i >= 0:
		return fmt.Sprintf("it uses the table of route %s: choose another with `table:`", routes[i].Name)
	case marked && mask != 0xffffffff && mask&uint32(cfg.Mask) != 0:
		return fmt.Sprintf("it matches mark bits of nameroute's mask %#x: choose other bits with `mask:` in %s", uint32(cfg.Mask), cfg.File)
	case rule.Priority >= cfg.Priority && rule.Priority <= last:
		return fmt.Sprintf("its priority is among nameroute's (%d to %d): choose others with `priority:` in %s", cfg.Priority, last, cfg.File)
	case rule.Priority < cfg.Priority && catchesAll(rule, marked) && leads():
		return fmt.Sprintf("it catches packets before nameroute's rules: set `priority:` below %d in %s", max(rule.Priority, 1), cfg.File)
	}
	return ""
}

// catchesAll reports whether a rule catches packets with nameroute's marks from anywhere.
func catchesAll(rule netlink.Rule, marked bool) bool {
	if marked && !rule.Invert || rule.Table == 255 || rule.SuppressPrefixlen >= 0 || rule.Goto >= 0 {
		return false
	}
	return rule.Src == nil && rule.Dst == nil && rule.IifName == "" && rule.OifName == "" && rule.IPProto == 0 &&
		rule.Dport == nil && rule.Sport == nil && rule.UIDRange == nil && rule.Tos == 0
}

// widePrefix is the longest prefix that counts as a part of a default: programs write it in
// several, such as 0.0.0.0/1 and 2000::/3.
const widePrefix = 4

// leadsOut reports whether a routing table has a default, or a part of one. Tailscale's has
// none before an exit node is chosen. Of a table that cannot be read it is assumed.
func leadsOut(family, table int) bool {
	routes, err := nlretry.Dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	})
	if errors.Is(err, unix.ENOENT) {
		return false
	}
	return err != nil || slices.ContainsFunc(routes, func(r netlink.Route) bool {
		if r.Dst == nil {
			return true
		}
		bits, _ := r.Dst.Mask.Size()
		return bits <= widePrefix
	})
}

// describeRule returns a policy rule as ip(8) prints it.
func describeRule(rule netlink.Rule) string {
	var words []string
	if rule.Invert {
		words = append(words, "not")
	}
	if rule.Src != nil {
		words = append(words, "from "+rule.Src.String())
	}
	if rule.Dst != nil {
		words = append(words, "to "+rule.Dst.String())
	}
	if rule.IifName != "" {
		words = append(words, "iif "+rule.IifName)
	}
	if rule.Mark != 0 || rule.Mask != nil {
		mark := fmt.Sprintf("fwmark %#x", rule.Mark)
		if rule.Mask != nil && *rule.Mask != 0xffffffff {
			mark += fmt.Sprintf("/%#x", *rule.Mask)
		}
		words = append(words, mark)
	}
	return strings.Join(append(words, fmt.Sprintf("lookup %d", rule.Table)), " ")
}

// foreignRoutes counts the kernel routes of other programs in a table.
func foreignRoutes(family, table int) int {
	routes, err := nlretry.Dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return 0 // the table does not exist
	}
	return len(slices.DeleteFunc(routes, func(r netlink.Route) bool { return r.Protocol == gateway.Protocol }))
}
