package policy

import (
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// String prints the state as `ip rule` and `ip route show table N` print it, each
// part under the command that shows it, then the sysctls.
func (s State) String() string {
	s.Rules, s.KernelRoutes = append([]Rule(nil), s.Rules...), append([]KernelRoute(nil), s.KernelRoutes...)
	s.Sort()
	var b strings.Builder
	for _, f := range gateway.Families {
		title := fmt.Sprintf("# ip -%d rule\n", f)
		for _, r := range s.Rules {
			if r.Family == f {
				fmt.Fprintf(&b, "%s%s\n", title, r.text())
				title = ""
			}
		}
	}
	last := ""
	for _, r := range s.KernelRoutes {
		if title := fmt.Sprintf("# ip -%d route show table %d\n", r.Family, r.Table); title != last {
			b.WriteString(title)
			last = title
		}
		fmt.Fprintf(&b, "%s\n", r.text())
	}
	for i, c := range s.Sysctls {
		if i == 0 {
			b.WriteString("# sysctl\n")
		}
		fmt.Fprintf(&b, "%s\n", c.text())
	}
	return b.String()
}

func (r Rule) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:\t", r.Priority)
	if r.Invert {
		b.WriteString("not ")
	}
	if r.Src.IsValid() {
		fmt.Fprintf(&b, "from %s ", r.Src.Addr())
	} else {
		b.WriteString("from all ")
	}
	if r.Dst.IsValid() {
		fmt.Fprintf(&b, "to %s ", r.Dst)
	}
	if r.Iif != "" {
		fmt.Fprintf(&b, "iif %s ", r.Iif)
	}
	if r.Oif != "" {
		fmt.Fprintf(&b, "oif %s ", r.Oif)
	}
	if r.Mark.Mask != 0 {
		fmt.Fprintf(&b, "fwmark %s ", markText(r.Mark))
	}
	if r.User != 0 {
		fmt.Fprintf(&b, "uidrange %[1]d-%[1]d ", r.User)
	}
	b.WriteString(r.action())
	if r.Suppress >= 0 {
		fmt.Fprintf(&b, " suppress_prefixlength %d", r.Suppress)
	}
	fmt.Fprintf(&b, " proto %d", gateway.Protocol)
	return b.String()
}

func (r Rule) action() string {
	if r.Unreachable {
		return "unreachable"
	}
	return "lookup " + tableText(r.Table)
}

// markText prints a mark as ip(8) does, a zero value as 0 and not as 0x0.
func markText(m gateway.Mark) string {
	if m.Value == 0 {
		return fmt.Sprintf("0/%#x", m.Mask)
	}
	return m.String()
}

func tableText(table int) string {
	if table == unix.RT_TABLE_MAIN {
		return "main"
	}
	return fmt.Sprint(table)
}

// String prints the family and the kernel route as ip(8) does, as one of table main.
func (r KernelRoute) String() string {
	return fmt.Sprintf("IPv%d %s", r.Family, r.format(""))
}

// text prints the kernel route as ip(8) does, as one of ours.
func (r KernelRoute) text() string { return r.format(fmt.Sprintf("proto %d", gateway.Protocol)) }

func (r KernelRoute) format(protocol string) string {
	var w []string
	switch {
	case r.Unreachable:
		w = append(w, "unreachable")
	case r.Throw:
		w = append(w, "throw")
	}
	w = append(w, r.dst())
	switch {
	case len(r.Hops) == 0 && r.Family == gateway.V6:
		w = append(w, "dev lo") // where the kernel hangs IPv6 routes that have no device
	case len(r.Hops) == 1:
		w = append(w, r.Hops[0].format(r.Family))
	}
	if protocol != "" {
		w = append(w, protocol)
	}
	if r.scopeLink() {
		w = append(w, "scope link")
	}
	if r.Src.IsValid() {
		w = append(w, "src "+r.Src.String())
	}
	if r.Metric > 0 {
		w = append(w, fmt.Sprintf("metric %d", r.Metric))
	}
	if len(r.Hops) == 1 && r.Hops[0].OnLink {
		w = append(w, "onlink")
	}
	if r.MTU > 0 {
		w = append(w, r.mtuText())
	}
	if r.Family == gateway.V6 {
		w = append(w, "pref medium")
	}
	if len(r.Hops) > 1 {
		for _, h := range r.Hops {
			w = append(w, "\n\tnexthop "+h.format(r.Family)+fmt.Sprintf(" weight %d", h.Weight)+onlink(h))
		}
	}
	return strings.ReplaceAll(strings.Join(w, " "), " \n", "\n")
}

// dst prints the destination: that of a single host without its length.
func (r KernelRoute) dst() string {
	switch {
	case !r.Dst.IsValid():
		return "default"
	case r.Dst.IsSingleIP():
		return r.Dst.Addr().String()
	}
	return r.Dst.String()
}

func (r KernelRoute) mtuText() string {
	if r.LockMTU {
		return fmt.Sprintf("mtu lock %d", r.MTU)
	}
	return fmt.Sprintf("mtu %d", r.MTU)
}

// scopeLink reports whether the kernel route is on-link, which IPv4 has a scope for.
func (r KernelRoute) scopeLink() bool {
	return r.Family == gateway.V4 && len(r.Hops) == 1 && !r.Hops[0].Via.IsValid()
}

func (h Hop) format(f gateway.Family) string {
	switch {
	case !h.Via.IsValid():
		return "dev " + h.Link
	case f == gateway.V4 && h.Via.Is6():
		return "via inet6 " + h.Via.String() + " dev " + h.Link
	default:
		return "via " + h.Via.String() + " dev " + h.Link
	}
}

func onlink(h Hop) string {
	if h.OnLink {
		return " onlink"
	}
	return ""
}

// RuleText returns a policy rule as ip(8) prints it.
func RuleText(rule netlink.Rule) string {
	var words []string
	add := func(when bool, format string, args ...any) {
		if when {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(rule.Invert, "not")
	add(rule.Src != nil, "from %s", rule.Src)
	add(rule.Dst != nil, "to %s", rule.Dst)
	add(rule.IifName != "", "iif %s", rule.IifName)
	add(rule.OifName != "", "oif %s", rule.OifName)
	switch {
	case rule.Mask != nil && *rule.Mask != 0xffffffff:
		add(true, "fwmark %#x/%#x", rule.Mark, *rule.Mask)
	default:
		add(rule.Mark != 0 || rule.Mask != nil, "fwmark %#x", rule.Mark)
	}
	add(rule.Tos != 0, "tos %#x", rule.Tos)
	if u := rule.UIDRange; u != nil {
		add(true, "uidrange %d-%d", u.Start, u.End)
	}
	add(rule.IPProto != 0, "ipproto %d", rule.IPProto)
	for i, ports := range []*netlink.RulePortRange{rule.Sport, rule.Dport} {
		if what := []string{"sport", "dport"}[i]; ports != nil && ports.Start == ports.End {
			add(true, "%s %d", what, ports.Start)
		} else if ports != nil {
			add(true, "%s %d-%d", what, ports.Start, ports.End)
		}
	}
	switch {
	case rule.Goto >= 0:
		add(true, "goto %d", rule.Goto)
	case rule.Table == unix.RT_TABLE_UNSPEC:
		add(true, "unreachable, prohibit or blackhole")
	default:
		add(true, "lookup %d", rule.Table)
	}
	add(rule.SuppressPrefixlen >= 0, "suppress_prefixlength %d", rule.SuppressPrefixlen)
	return strings.Join(words, " ")
}
