package policy

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/prefixes"
)

// survey collects the kernel routes of one family of table main and tells which are local.
// A box with a full BGP table has a million: of those that cannot be local, whatever the
// WAN turns out to be, only the prefix is kept.
type survey struct {
	around
	defaults   []KernelRoute
	candidates []candidate // that may be local
	holes      []hole      // that they may have
	others     []candidate // for showing
	more       int
	routed     int // of candidates: not connected
	behind     []candidate
}

// candidate is a kernel route of table main.
type candidate struct {
	Network
	metric    uint32
	connected bool
}

// hole is a kernel route of table main that is not local.
type hole struct {
	prefix netip.Prefix
	metric uint32
}

func (s *survey) add(c candidate) {
	excluded := slices.ContainsFunc(s.exclude, func(p netip.Prefix) bool { return prefixes.Covers(p, c.Prefix) })
	perhaps := excluded || len(c.Links) == 0 || c.connected || c.allOn(s.lan) || gateway.IsSpecialPrefix(c.Prefix)
	switch {
	case c.allOn(s.egresses):
		s.holes = append(s.holes, hole{c.Prefix, c.metric})
		if c.connected {
			s.behind = append(s.behind, c)
		}
	case !perhaps:
		s.notLocal(c)
	case c.connected:
		s.candidates = append(s.candidates, c)
	default:
		if s.routed++; s.routed <= maxLocal {
			s.candidates = append(s.candidates, c)
		}
	}
}

func (s *survey) notLocal(c candidate) {
	s.holes = append(s.holes, hole{c.Prefix, c.metric})
	s.more++
	if s.others = append(s.others, c); len(s.others) > 4*maxOthers {
		s.shorten()
	}
}

// shorten keeps the shortest prefixes of others.
func (s *survey) shorten() {
	slices.SortFunc(s.others, func(a, b candidate) int {
		return cmp.Or(a.Prefix.Bits()-b.Prefix.Bits(), a.Prefix.Compare(b.Prefix))
	})
	s.others = s.others[:min(len(s.others), maxOthers)]
}

// finish adds what is local to l. It is called when the WAN's links are known.
func (s *survey) finish(l *Local) {
	local := map[netip.Prefix]candidate{}
	for _, c := range s.candidates {
		ok, because := s.verdict(c)
		c.Because = because
		switch {
		case !ok && c.connected:
			c.Suspect = true
			s.notLocal(c)
			s.addRouters(local, c)
		case !ok:
			s.notLocal(c)
		case !c.connected && s.routed > maxLocal:
			l.TooMany = s.routed
		default:
			if old, ok := local[c.Prefix]; !ok || c.metric < old.metric {
				local[c.Prefix] = c
			}
		}
	}
	s.shorten()
	for _, c := range s.others {
		_, c.Because = s.verdict(c)
		l.Others = append(l.Others, c.Network)
	}
	l.More += s.more - len(s.others)
	l.carved = append(l.carved, carve(local, s.holes)...)
	reached, onLAN, others := map[netip.Prefix]candidate{}, map[netip.Prefix]candidate{}, slices.Clone(s.holes)
	for p, c := range local {
		if len(c.Links) > 0 {
			reached[p] = c
		}
		if c.allOn(s.lan) {
			onLAN[p] = c
		} else {
			others = append(others, hole{p, c.metric})
		}
	}
	l.reached = append(l.reached, carve(reached, s.holes)...)
	l.onLAN = append(l.onLAN, carve(onLAN, others)...)
	for _, c := range local { // carve has removed those that the kernel does not prefer
		l.Networks = append(l.Networks, c.Network)
	}
	slices.SortFunc(l.Networks, func(a, b Network) int { return a.Prefix.Compare(b.Prefix) })
	for _, c := range s.behind {
		l.behind[c.Links[0]] = append(l.behind[c.Links[0]], c.Prefix)
	}
}

// addRouters keeps the routers of a link local where the network around them is not.
func (s *survey) addRouters(local map[netip.Prefix]candidate, c candidate) {
	for _, d := range s.defaults {
		for _, h := range d.Hops {
			if h.Via.IsValid() && c.Prefix.Contains(h.Via) && slices.Contains(c.Links, h.Link) {
				p := netip.PrefixFrom(h.Via, h.Via.BitLen())
				local[p] = candidate{Network: Network{Prefix: p, Links: []string{h.Link}, Because: "the WAN's router"}}
			}
		}
	}
}
