package sidecar

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/gateway/members"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/probe"
	"github.com/nameroute/nameroute/gateway/resolvers"
	"github.com/nameroute/nameroute/gateway/wg"
)

const (
	// cutFor is how long after a move flows of the failed member are ended: some begin while
	// the nft table still has the old one, and a dump of a changing table may miss some.
	cutFor = 10 * time.Second
	// cutAgain is when they are looked for a second time.
	cutAgain = 300 * time.Millisecond
)

// grouped is a group of the configuration.
type grouped struct {
	route    gateway.Route
	members  []gateway.Route
	machine  *group.Machine
	choice   group.Choice
	inForce  []string
	unusable map[string]string    // by member, as of the last apply
	cut      map[string]time.Time // failed members whose flows are ended, and since when
	moves    int

	resolvers map[string][]netip.AddrPort // by member: what its link was given
}

// memberKey is the name of a member for the prober: it may be in several groups, and have
// probes of its own.
func memberKey(g, member string) string { return g + "/" + member }

// chooseGroups adds and removes groups as the configuration says. A new one adopts what an
// earlier process has left in force.
func (r *reconciler) chooseGroups(cfg *gateway.Config, have policy.State) {
	wanted := map[string]bool{}
	for _, route := range cfg.AllRoutes() {
		if route.Group == nil {
			continue
		}
		wanted[route.Name] = true
		g := r.groups[route.Name]
		if g == nil {
			g = &grouped{machine: group.New(route.Group), unusable: map[string]string{}, cut: map[string]time.Time{}}
			g.inForce = members.Left(cfg, route, have)
			g.machine.Adopt(g.inForce)
			r.groups[route.Name] = g
		} else {
			g.machine.SetGroup(route.Group)
		}
		g.route, g.members = route, cfg.Members(route)
	}
	for name := range r.groups {
		if !wanted[name] {
			delete(r.groups, name)
		}
	}
}

// addGroups gives the groups' tables the defaults of the members in force. With choose, these
// are chosen by what the state has of them.
func (r *reconciler) addGroups(cfg *gateway.Config, want *policy.State, choose bool) {
	for name, g := range r.groups {
		if choose {
			for _, m := range g.members {
				g.unusable[m.Name] = members.Usable(want, m)
			}
			r.choose(name, g, time.Now())
			if len(g.inForce) == 0 {
				want.Waiting[name] = g.choice.Reason
			}
		}
		members.Add(want, cfg, g.route, g.inForce)
		if name == gateway.WAN {
			members.AddStandby(want, cfg, g.working())
			members.AddOwn(want, cfg, g.inForce)
		}
	}
}

// working returns the members that are not in force, and not known to be bad.
func (g *grouped) working() (names []string) {
	for _, m := range g.machine.Members() {
		if m.State != group.Bad && !m.InForce && g.unusable[m.Name] == "" {
			names = append(names, m.Name)
		}
	}
	return names
}

// choose asks which members are in force now, and reports whether others are, or more is
// known of them.
func (r *reconciler) choose(name string, g *grouped, now time.Time) (changed bool) {
	before := g.inForce
	g.choice = g.machine.Choose(now, func(member string) string { return g.unusable[member] })
	g.inForce = nil
	for _, a := range g.choice.Active {
		g.inForce = append(g.inForce, a.Member)
		delete(g.cut, a.Member)
	}
	for _, e := range g.choice.Events {
		r.logEvent(name, e)
	}
	if slices.Equal(before, g.inForce) {
		return len(g.choice.Events) > 0
	}
	g.moves++
	for _, m := range g.machine.Members() {
		failed := m.State == group.Bad || g.unusable[m.Name] != ""
		if failed && g.route.Group.Move == gateway.MoveCut && len(g.inForce) > 0 && slices.Contains(before, m.Name) {
			g.cut[m.Name] = now
			time.AfterFunc(cutAgain, r.trigger)
		}
	}
	return true
}

func (r *reconciler) logEvent(name string, e group.Event) {
	switch {
	case e.Member == "" && e.To == "":
		r.log.Warn("no member of the group is in force", "route", name, "before", e.From, "reason", e.Reason)
	case e.Member == "":
		r.log.Info("the group leaves by other members", "route", name, "from", e.From, "to", e.To, "reason", e.Reason)
	case e.To == string(group.Bad):
		r.log.Warn("probes of a member fail", "route", name, "member", e.Member, "reason", e.Reason)
	default:
		r.log.Info("probes of a member succeed", "route", name, "member", e.Member)
	}
}

// chooseAgain reports whether a group has to move: what probes have found says so, or a hold
// has ended. It is called at each step.
func (r *reconciler) chooseAgain(now time.Time) (changed bool) {
	for name, g := range r.groups {
		if len(g.unusable) > 0 { // it was applied
			changed = r.choose(name, g, now) || changed
		}
	}
	return changed
}

// useMemberResult takes the result of a round of probes through a member.
func (r *reconciler) useMemberResult(found group.Result, now time.Time) {
	name, member, ok := strings.Cut(found.Member, "/")
	if g := r.groups[name]; ok && g != nil {
		found.Member = member
		g.machine.Observe(now, found)
	}
}

// cutFlows ends the flows that groups have given to members that have failed, so that their
// clients connect again by another one.
func (r *reconciler) cutFlows(now time.Time) {
	var errs []error
	for name, g := range r.groups {
		for _, m := range g.members {
			since, ok := g.cut[m.Name]
			if !ok {
				continue
			}
			if now.Sub(since) > cutFor {
				delete(g.cut, m.Name)
				continue
			}
			n, err := r.system.cutFlows(m.Mark, g.route.Mark)
			errs = append(errs, err)
			if name == gateway.WAN { // what follows its table leaves by another link now, and may keep its source
				_, err = r.system.cutFlows(g.route.Mark, g.route.Mark)
				errs = append(errs, err)
			}
			if n > 0 {
				r.log.Info("ended flows of a member that has failed", "route", name, "member", m.Name, "flows", n)
			}
		}
	}
	r.report("conntrack entries of failed members", errors.Join(errs...))
}

// findResolvers finds what the links of members were given as their resolvers, where probes
// ask those. Of the WAN's links without any it is what gateway.yaml names for the WAN.
func (r *reconciler) findResolvers(cfg *gateway.Config) {
	for name, g := range r.groups {
		g.resolvers = nil
		if !slices.ContainsFunc(g.route.Group.Probes, func(p gateway.Probe) bool { return p.Kind == gateway.ProbeDNS && !p.Addr.IsValid() }) {
			continue
		}
		g.resolvers = map[string][]netip.AddrPort{}
		for _, m := range g.members {
			if m.Egress.Link == "" || m.Egress.Kind == gateway.EgressWireGuard {
				continue
			}
			found, _ := resolvers.Of(cfg, m, policy.RouteState{}) // without any, the probe says so
			if g.resolvers[m.Name] = found.Servers; len(found.Servers) == 0 && name == gateway.WAN {
				g.resolvers[m.Name] = cfg.WANResolvers
			}
		}
	}
}

// memberProbes are the probes through the members of groups.
func (r *reconciler) memberProbes() []probe.Route {
	var routes []probe.Route
	for name, g := range r.groups {
		for _, m := range g.members {
			p := r.probeRoute(m, g.route.Group.Probing)
			p.Name = memberKey(name, m.Name)
			if name == gateway.WAN {
				p.Link = m.Egress.Link
			}
			if p.Resolvers == nil {
				p.Resolvers = g.resolvers[m.Name]
			}
			if p.Closed == "" {
				p.Closed = g.unusable[m.Name]
			}
			routes = append(routes, p)
		}
	}
	return routes
}

// GroupStatus is what a group leaves by.
type GroupStatus struct {
	Policy  gateway.GroupPolicy  `json:"policy"`
	InForce []string             `json:"in_force"` // in the order of preference
	Moves   int                  `json:"moves"`    // how often others were in force since the start
	Members []group.MemberStatus `json:"members"`
}

func (g *grouped) status() *GroupStatus {
	return &GroupStatus{Policy: g.route.Group.Policy, InForce: slices.Clone(g.inForce), Moves: g.moves, Members: g.machine.Members()}
}

// addGroup adds to the status of a group what is known of its members. One whose probes all
// fail, or have found nothing yet, is not up, though packets are sent.
func (r *reconciler) addGroup(s *RouteStatus) {
	g := r.groups[s.Name]
	if g == nil {
		return
	}
	s.Group = g.status()
	if s.State != wg.Up {
		return
	}
	unknown := len(g.route.Group.Probes) > 0
	for _, m := range s.Group.Members {
		if m.InForce && m.State != group.Unknown {
			unknown = false
		}
	}
	switch {
	case g.choice.Failing:
		s.State, s.Reason = wg.Down, g.choice.Reason
	case unknown:
		s.State, s.Reason = wg.Waiting, unanswered
	}
}
