package group

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// member is what is known of a member.
type member struct {
	gateway.Member
	state    State
	reason   string // of the last round that failed
	unusable string // why it cannot be used; "": it can
	since    time.Time
	probed   time.Time
	fails    int // failed rounds in a row
	goods    int // good rounds in a row
	time     time.Duration
	ready    time.Time // since when it may replace a good one; zero: it may not
	faster   time.Time // since when it has been clearly faster than the one in force
}

// New returns the Machine of a group of which nothing is known.
func New(g *gateway.Group) *Machine {
	m := &Machine{}
	m.SetGroup(g)
	return m
}

// SetGroup replaces the group. What is known of members that stay is kept.
func (m *Machine) SetGroup(g *gateway.Group) {
	before := m.members
	m.group, m.members = *g, nil
	for _, gm := range g.Members {
		i := slices.IndexFunc(before, func(x *member) bool { return x.Route == gm.Route })
		x := &member{state: Unknown}
		if i >= 0 {
			x = before[i]
		}
		x.Member = gm
		m.members = append(m.members, x)
	}
	if len(g.Probes) == 0 { // what they said is no longer known
		for _, x := range m.members {
			x.state, x.fails, x.goods, x.time = Unknown, 0, 0, 0
		}
	}
}

// Adopt puts the members in force that an earlier process has left so. They stay until
// probes say otherwise.
func (m *Machine) Adopt(inForce []string) {
	m.inForce = slices.DeleteFunc(slices.Clone(inForce), func(name string) bool { return m.find(name) == nil })
}

func (m *Machine) find(name string) *member {
	i := slices.IndexFunc(m.members, func(x *member) bool { return x.Route == name })
	if i < 0 {
		return nil
	}
	return m.members[i]
}

// Observe takes the result of a round of probes. It reports whether Choose may choose
// otherwise now.
func (m *Machine) Observe(now time.Time, r Result) (changed bool) {
	x := m.find(r.Member)
	if x == nil {
		return false // it has left the group meanwhile
	}
	if r.Unknown {
		if x.state == Unknown {
			x.reason = r.Reason
		}
		return false
	}
	x.probed = now
	if !r.OK {
		x.goods, x.reason = 0, r.Reason
		x.fails++
		if x.state == Bad || x.fails < m.group.Fails {
			return false
		}
		x.time = 0
		m.become(now, x, Bad)
		return true
	}
	recovered := x.fails > 0
	x.fails = 0
	x.goods++
	if x.state != Bad {
		x.reason = ""
	}
	if r.Time > 0 {
		x.measure(r.Time)
	}
	if x.state == Unknown || x.state == Bad && x.goods >= m.group.Good {
		m.become(now, x, Good)
		return true
	}
	return recovered
}

// measure smooths round-trip times, as TCP does (RFC 6298).
func (x *member) measure(t time.Duration) {
	if x.time == 0 {
		x.time = t
		return
	}
	x.time += (t - x.time) / 8
}

func (m *Machine) become(now time.Time, x *member, s State) {
	if s == Good {
		x.reason = ""
	}
	m.events = append(m.events, Event{Member: x.Route, From: string(x.state), To: string(s), Reason: x.reason})
	x.state, x.since = s, now
}

// Choose says which members are in force now. It is to be called when Observe says so, when
// what can be used has changed, and from time to time, because a hold ends by itself.
// usable tells why a member cannot be used, or "": its link, or the default in its table,
// is there.
func (m *Machine) Choose(now time.Time, usable func(member string) (reason string)) Choice {
	for _, x := range m.members {
		x.unusable = usable(x.Route)
		if x.since.IsZero() {
			x.since = now
		}
		known := x.state == Good || x.state == Unknown && len(m.group.Probes) == 0
		switch {
		case x.unusable != "" || !known:
			x.ready = time.Time{}
		case x.ready.IsZero():
			x.ready = now
		}
	}
	chosen, reason := m.choose(now)
	var c Choice
	var names []string
	for _, x := range chosen {
		weight := 1
		if m.group.Policy == gateway.Balance {
			weight = max(x.Weight, 1)
		}
		c.Active = append(c.Active, Active{Member: x.Route, Weight: weight})
		names = append(names, x.Route)
		c.Failing = c.Failing || x.state == Bad
	}
	c.Failing = c.Failing && !slices.ContainsFunc(m.members, (*member).works)
	switch {
	case len(chosen) == 0:
		c.Reason = m.reasons(m.members)
	case c.Failing:
		c.Reason = "no member's probes succeed: " + m.reasons(m.members)
	}
	if !slices.Equal(m.inForce, names) {
		m.events = append(m.events, Event{
			From: strings.Join(m.inForce, ", "), To: strings.Join(names, ", "), Reason: cmp.Or(reason, c.Reason, m.explain(names)),
		})
		for _, x := range m.members {
			x.faster = time.Time{}
		}
	}
	m.inForce = names
	c.Events, m.events = m.events, nil
	return c
}

// explain says why other members are in force: what is wrong with those that no longer are,
// or with those that are preferred to the first one, or else which have come.
func (m *Machine) explain(names []string) string {
	var words []string
	for _, name := range m.inForce {
		if x := m.find(name); x == nil {
			words = append(words, name+": no longer a member")
		} else if why := cmp.Or(x.unusable, x.reason); why != "" && !slices.Contains(names, name) {
			words = append(words, name+": "+why)
		}
	}
	if len(words) > 0 {
		return strings.Join(words, "; ")
	}
	for _, x := range m.members {
		if x.Route == names[0] {
			break
		}
		words = append(words, m.reasons([]*member{x}))
	}
	if words = slices.DeleteFunc(words, func(w string) bool { return w == "" }); len(words) > 0 {
		return strings.Join(words, "; ")
	}
	for _, name := range names {
		if !slices.Contains(m.inForce, name) {
			words = append(words, name)
		}
	}
	if len(words) == 0 {
		return "the policy is " + string(m.group.Policy)
	}
	return strings.Join(words, ", ") + " can be used"
}

func (m *Machine) reasons(of []*member) string {
	var words []string
	for _, x := range of {
		if why := cmp.Or(x.unusable, x.reason); why != "" {
			words = append(words, x.Route+": "+why)
		}
	}
	return strings.Join(words, "; ")
}

// Members describes the members in the order of preference.
func (m *Machine) Members() []MemberStatus {
	var out []MemberStatus
	for _, x := range m.members {
		out = append(out, MemberStatus{
			Name: x.Route, Weight: x.Weight, State: x.state, InForce: slices.Contains(m.inForce, x.Route),
			Reason: cmp.Or(x.unusable, x.reason), Since: x.since, Probed: x.probed, Time: x.time,
		})
	}
	return out
}
