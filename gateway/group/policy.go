package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// What is clearly faster with Fastest: by a fifth, and by more than what the load of a box
// makes of it.
const (
	fasterShare = 5
	fasterLeast = 2 * time.Millisecond
)

// works reports whether a member can be used and is not known to be bad.
func (x *member) works() bool { return x.unusable == "" && x.state != Bad }

// clean reports whether it works, and the last round of its probes did not fail.
func (x *member) clean() bool { return x.works() && x.fails == 0 }

func (m *Machine) those(is func(*member) bool) []*member {
	var out []*member
	for _, x := range m.members {
		if is(x) {
			out = append(out, x)
		}
	}
	return out
}

// choose returns the members to be in force, in the order of preference, and the reason
// where the members do not say it themselves.
func (m *Machine) choose(now time.Time) (chosen []*member, reason string) {
	current := m.those(func(x *member) bool { return x.unusable == "" && slices.Contains(m.inForce, x.Route) })
	if m.group.Policy == gateway.Balance {
		return m.balance(current), ""
	}
	if len(current) > 1 { // the policy was another one
		current = current[:1]
	}
	if len(current) == 0 || current[0].state == Bad {
		return m.replace(current), ""
	}
	if better, reason := m.better(now, current[0]); better != nil {
		return []*member{better}, reason
	}
	return current, ""
}

// replace returns the member that takes the place of one that is bad or cannot be used.
//
// Where the last round of all others has failed, too, the one in force stays until it is
// known whether they are bad: when all fail at the same time, what they probe is gone, and
// not the members. While all are bad nothing is gained by another one, and nothing by none:
// packets leave by links of members or not at all.
func (m *Machine) replace(current []*member) []*member {
	candidates := m.those((*member).clean)
	known := slices.DeleteFunc(slices.Clone(candidates), func(x *member) bool { return x.state != Good })
	if len(known) > 0 && len(m.inForce) > 0 { // at the start nothing waits for probes
		candidates = known
	}
	for _, some := range [][]*member{candidates, current, m.those((*member).works), m.those(func(x *member) bool { return x.unusable == "" })} {
		if len(some) == 0 {
			continue
		}
		best := some[0]
		for _, x := range some {
			if m.group.Policy == gateway.Fastest && x.time > 0 && (best.time == 0 || x.time < best.time) {
				best = x
			}
		}
		return []*member{best}
	}
	return nil
}

// better returns the member that is to replace one that works, if there is any.
func (m *Machine) better(now time.Time, current *member) (*member, string) {
	if m.group.Policy == gateway.Fastest {
		return m.fastest(now, current)
	}
	for _, x := range m.members {
		if x == current {
			break
		}
		if good := now.Sub(x.ready); !x.ready.IsZero() && x.clean() && good >= m.group.Hold {
			return x, fmt.Sprintf("%s is preferred, and has been good for %v", x.Route, good.Round(time.Second))
		}
	}
	return nil, ""
}

func (m *Machine) fastest(now time.Time, current *member) (best *member, reason string) {
	for _, x := range m.members {
		ahead := current.time - x.time
		switch {
		case x == current || x.ready.IsZero() || !x.clean() || x.time == 0 || ahead < max(current.time/fasterShare, fasterLeast):
			x.faster = time.Time{}
			continue
		case x.faster.IsZero():
			x.faster = now
		}
		if now.Sub(x.faster) >= m.group.Hold && (best == nil || x.time < best.time) {
			best = x
		}
	}
	if best == nil {
		return nil, ""
	}
	return best, fmt.Sprintf("%s is faster: %v, %s %v", best.Route, best.time.Round(time.Millisecond/10), current.Route, current.time.Round(time.Millisecond/10))
}

// balance returns all that work. One that is new to a group of which some are in force
// waits for its first round of probes.
func (m *Machine) balance(current []*member) []*member {
	chosen := m.those(func(x *member) bool {
		return x.works() && (len(current) == 0 || len(m.group.Probes) == 0 || x.state == Good || slices.Contains(current, x))
	})
	if slices.ContainsFunc(chosen, (*member).clean) {
		return chosen
	}
	for _, some := range [][]*member{current, m.those((*member).works), m.those(func(x *member) bool { return x.unusable == "" })} {
		if len(some) > 0 {
			return some
		}
	}
	return nil
}
