// Package policy owns the kernel's policy rules and routing tables that carry
// protocol number 110, and the sysctls that they need. It says what they should
// be (Desired, pure), what they are (Kernel.Read), and applies the difference.
//
// It also tells which routes have a default (Routes) and what is local to the box
// (Local). The dataplane uses these two, and never writes here.
package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
)

// State is our part of the kernel's policy routing, as values. Two states are equal
// if String prints the same for both.
type State struct {
	Rules        []Rule
	KernelRoutes []KernelRoute
	Sysctls      []Sysctl          // wanted only: Read leaves it empty
	Waiting      map[string]string // routes without any default, and the reason; wanted only
	Uplinks      []gateway.Mark    // of connections that come in through one of several uplinks; wanted only
	NoMain       []gateway.Family  // families without a rule of the kernel's or of another program for table main; read only
}

// Rule is a policy rule.
type Rule struct {
	Family   gateway.Family
	Priority int
	Invert   bool         // `not`: what does not match
	Src, Dst netip.Prefix // invalid: all
	Iif, Oif string       // "": all; an Iif of lo selects the box's own packets
	User     uint32       // who has opened the socket; 0: anybody
	Mark     gateway.Mark // value 0 is a value like any other; without a mask it is none
	Table    int
	Suppress int // suppress_prefixlength; -1 is none

	Unreachable bool // it looks up no table
}

// KernelRoute is a default kernel route, in one of our routing tables or in table main.
// Our tables hold nothing but defaults, what they leave to table main, what silent peers of a
// tunnel would take, and, while the probes of a route fail, the way to what those ask.
type KernelRoute struct {
	Family      gateway.Family
	Table       int
	Dst         netip.Prefix // invalid: all
	Metric      uint32
	Unreachable bool       // the backstop, or Dst of silent peers: no hops
	Throw       bool       // leaves Dst to the policy rules that follow: no hops
	Src         netip.Addr // preferred source; invalid is none
	MTU         int        // bytes; 0 is the link's
	LockMTU     bool
	Hops        []Hop // sorted; more than one is multipath
}

// Hop is one next hop of a kernel route.
type Hop struct {
	Via    netip.Addr // gateway; invalid: on-link. An IPv4 route may have an IPv6 one (RFC 5549)
	Link   string
	Index  int // of the link; not part of what is compared
	OnLink bool
	Weight int // 1 to 256
}

// key identifies one of our kernel routes.
type key struct {
	family gateway.Family
	table  int
	dst    netip.Prefix
	metric uint32
}

func (r KernelRoute) key() key { return key{r.Family, r.Table, r.Dst, r.Metric} }

// Links returns the interfaces that the kernel route leaves by.
func (r KernelRoute) Links() []string {
	var names []string
	for _, h := range r.Hops {
		if !slices.Contains(names, h.Link) {
			names = append(names, h.Link)
		}
	}
	return names
}

// Blocking returns the part of the state that stops packets of a route that is down:
// the policy rules and the unreachable defaults.
func (s State) Blocking() State {
	blocking := State{Rules: s.Rules}
	for _, r := range s.KernelRoutes {
		if r.Unreachable {
			blocking.KernelRoutes = append(blocking.KernelRoutes, r)
		}
	}
	return blocking
}

// Blocks reports whether the state has every policy rule and unreachable default of
// another one.
func (s State) Blocks(want State) bool {
	rules, routes := texts(s.Rules, ruleText), texts(s.KernelRoutes, routeText)
	for _, r := range want.Rules {
		if !rules[ruleText(r)] {
			return false
		}
	}
	for _, r := range want.Blocking().KernelRoutes {
		if !routes[routeText(r)] {
			return false
		}
	}
	return true
}

// of returns the part of the state in these families.
func (s State) of(families []gateway.Family) State {
	s.Rules = slices.DeleteFunc(slices.Clone(s.Rules), func(r Rule) bool { return !slices.Contains(families, r.Family) })
	s.KernelRoutes = slices.DeleteFunc(slices.Clone(s.KernelRoutes), func(r KernelRoute) bool { return !slices.Contains(families, r.Family) })
	return s
}

// With returns the state with everything that another one has besides, so that applying
// it removes nothing.
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

// Sort orders a state as ip(8) shows it.
func (s *State) Sort() {
	slices.SortFunc(s.Rules, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.text(), b.text()))
	})
	slices.SortFunc(s.KernelRoutes, func(a, b KernelRoute) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Table, b.Table), compareDst(a, b), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.text(), b.text()))
	})
}

// compareDst puts the defaults where ip(8) shows them: of IPv4 first, of IPv6 last.
func compareDst(a, b KernelRoute) int {
	if a.Dst.IsValid() == b.Dst.IsValid() || a.Family == gateway.V4 {
		return a.Dst.Compare(b.Dst)
	}
	return b.Dst.Compare(a.Dst)
}

func sortHops(hops []Hop) {
	slices.SortFunc(hops, func(a, b Hop) int {
		return cmp.Or(a.Via.Compare(b.Via), cmp.Compare(a.Link, b.Link))
	})
}
