package members

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/policy"
)

// Standby is the metric from which on a table has defaults of members that work and are not
// in force: nothing takes them while there is one in force.
const Standby = 1000

// AddStandby gives the WAN's table the defaults of members that work but are not in force.
// IPv6 packets with a source of theirs leave by them.
func AddStandby(s *policy.State, cfg *gateway.Config, working []string) {
	addCopies(s, cfg, cfg.WANRoute(), working, Standby)
	s.Sort()
}

// Working tells of each family which members' defaults a table has, in force or not.
func Working(cfg *gateway.Config, r gateway.Route, defaults []policy.KernelRoute) map[gateway.Family][]gateway.Member {
	return among(cfg, r, defaults, func(policy.KernelRoute) bool { return true })
}

// AddOwn sends what the box sends by itself, and no route marks, by the members of the WAN
// that are in force: policy rules and not nft decide, so that the source address is that of
// the link. What a socket has bound to one of its links leaves by that. Main's own kernel
// routes come first, so that a next hop is found by its network, and its default where none of the members has one. Where the box has a
// default route there are other rules: see package unlisted.
func AddOwn(s *policy.State, cfg *gateway.Config, inForce []string) {
	if _, ok := cfg.BoxDefault(); ok {
		return
	}
	own, last := cfg.WANRoute(), cfg.LastRoutePriority()
	own.Table = gateway.DefaultTable
	addCopies(s, cfg, own, inForce, gateway.DefaultMetric)
	unmarked := gateway.Mark{Mask: uint32(cfg.Mask)}
	for _, f := range gateway.Families {
		if !slices.ContainsFunc(s.Rules, func(r policy.Rule) bool { return r.Family == f }) {
			continue
		}
		s.Rules = append(s.Rules,
			policy.Rule{Family: f, Priority: last + 1, Iif: "lo", Mark: unmarked, Table: unix.RT_TABLE_MAIN, Suppress: gateway.Suppressed(f)},
			policy.Rule{Family: f, Priority: last + 2, Iif: "lo", Mark: unmarked, Table: own.Table, Suppress: -1})
		for _, m := range cfg.Members(own) {
			s.Rules = append(s.Rules, policy.Rule{Family: f, Priority: last + 2, Iif: "lo", Oif: m.Egress.Link, Mark: unmarked, Table: m.Table, Suppress: -1})
		}
	}
	s.Sort()
}
