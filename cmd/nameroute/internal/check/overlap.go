package check

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/nlretry"
	"github.com/nameroute/nameroute/gateway/policy"
)

// checkOverlap finds other programs' policy rules and kernel routes that conflict with
// nameroute's: rules on bits of its mask, among its rules or before them, routes in its tables.
func (h *host) checkOverlap(r *report) {
	routes := h.cfg.AllRoutes()
	var told []string
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		option := map[int]string{netlink.FAMILY_V4: "-4", netlink.FAMILY_V6: "-6"}[family]
		rules, err := nlretry.Dump(func() ([]netlink.Rule, error) { return netlink.RuleList(family) })
		if err != nil {
			r.unknown("ip %s rule: %v: overlaps with other programs' rules are not checked", option, err)
			continue
		}
		for _, rule := range rules {
			if conflict := conflictOf(rule, h.cfg, routes); conflict != "" {
				r.warn("ip %s rule %d of another program (%s): %s", option, rule.Priority, policy.RuleText(rule), conflict)
				told = append(told, fmt.Sprint(option, rule.Priority))
			}
		}
		for _, route := range routes {
			if foreign := foreignRoutes(family, route.Table); foreign > 0 {
				r.warn("ip %s route show table %d: another program has %s in the table of route %s: choose another with `table:`", option, route.Table, output.Count(foreign, "route"), route.Name)
			}
		}
	}
	diversions, err := policy.Diversions(h.cfg)
	if err != nil {
		r.unknown("policy rules: %v: whether another program's decide about packets of routes is not checked", err)
	}
	for _, d := range diversions {
		if !slices.Contains(told, fmt.Sprint(fmt.Sprintf("-%d", d.Family), d.Priority)) {
			r.warn("%s", d)
		}
	}
}

// conflictOf describes the conflict of another program's policy rule with nameroute's, ""
// where that does not depend on where the kernel sends packets: see policy.Diversions.
func conflictOf(rule netlink.Rule, cfg *gateway.Config, routes []gateway.Route) string {
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
	}
	return ""
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
