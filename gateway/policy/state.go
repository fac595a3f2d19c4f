// Package policy owns the kernel's policy rules and routing tables that carry
// protocol number 110, and the sysctls that they need. It says what they should
// be (Desired, pure), what they are (Kernel.Read), and applies the difference.
//
// It also reads: the WAN's default routes that are followed (Look), which routes
// have a default (Routes) and what is local to the box (Local). The DNS half uses
// the last two, and never writes here.
package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
)

// mainTable is the kernel's RT_TABLE_MAIN.
const mainTable = 254

// State is everything of ours in the kernel's policy routing, as values. Two
// states are the same if String prints the same.
type State struct {
	Rules        []Rule
	KernelRoutes []KernelRoute
	Sysctls      []Sysctl          // wanted only: Read leaves it empty
	Waiting      map[string]string // routes without any default, and why; wanted only
	NoMain       []gateway.Family  // no rule of others leads to table main; read only
}

// Rule is a policy rule.
type Rule struct {
	Family   gateway.Family
	Priority int
	Invert   bool         // `not`: what does not match
	Mark     gateway.Mark // value 0 is a value like any other
	Table    int
	Suppress int // suppress_prefixlength; -1 is none
}

// KernelRoute is a default kernel route in one of our routing tables. Nothing else than
// defaults ever stands there.
type KernelRoute struct {
	Family      gateway.Family
	Table       int
	Metric      uint32
	Unreachable bool       // the backstop: no hops
	Src         netip.Addr // preferred source; invalid is none
	MTU         int        // bytes; 0 is the link's
	LockMTU     bool
	Hops        []Hop // sorted; more than one is multipath
}

// Hop is one way that a kernel route takes.
type Hop struct {
	Via    netip.Addr // gateway; invalid: on the link itself. An IPv4 route may have an IPv6 one (RFC 5549)
	Link   string
	Index  int // of the link; not part of what is compared
	OnLink bool
	Weight int // 1 to 256
}

// key is what the kernel tells two routes of ours apart by.
type key struct {
	family gateway.Family
	table  int
	metric uint32
}

func (r KernelRoute) key() key { return key{r.Family, r.Table, r.Metric} }

// Links names the interfaces that the route leaves by.
func (r KernelRoute) Links() []string {
	var names []string
	for _, h := range r.Hops {
		if !slices.Contains(names, h.Link) {
			names = append(names, h.Link)
		}
	}
	return names
}

// Doors is the part of the state that keeps doors closed: rules and backstops.
func (s State) Doors() State {
	doors := State{Rules: s.Rules}
	for _, r := range s.KernelRoutes {
		if r.Unreachable {
			doors.KernelRoutes = append(doors.KernelRoutes, r)
		}
	}
	return doors
}

// of is the part of the state in these families.
func (s State) of(families []gateway.Family) State {
	s.Rules = slices.DeleteFunc(slices.Clone(s.Rules), func(r Rule) bool { return !slices.Contains(families, r.Family) })
	s.KernelRoutes = slices.DeleteFunc(slices.Clone(s.KernelRoutes), func(r KernelRoute) bool { return !slices.Contains(families, r.Family) })
	return s
}

// With adds what another state has besides, so that applying it takes nothing away.
func (s State) With(other State) State {
	rules, keys := texts(s.Rules, ruleText), map[key]bool{}
	s.Rules, s.KernelRoutes = slices.Clone(s.Rules), slices.Clone(s.KernelRoutes)
	for _, r := range s.KernelRoutes {
		keys[r.key()] = true
	}
	for _, r := range other.Rules {
		if !rules[ruleText(r)] {
			s.Rules = append(s.Rules, r)
		}
	}
	for _, r := range other.KernelRoutes {
		if !keys[r.key()] {
			s.KernelRoutes = append(s.KernelRoutes, r)
		}
	}
	return s
}

// sort brings a state into the order in which ip(8) shows it.
func (s *State) sort() {
	slices.SortFunc(s.Rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.text(), b.text()))
	})
	slices.SortFunc(s.KernelRoutes, func(a, b KernelRoute) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.text(), b.text()))
	})
}

func sortHops(hops []Hop) {
	slices.SortFunc(hops, func(a, b Hop) int {
		return cmp.Or(a.Via.Compare(b.Via), cmp.Compare(a.Link, b.Link))
	})
}
