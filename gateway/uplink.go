package gateway

import (
	"hash/fnv"
	"net/netip"
	"slices"
)

// Uplink is an interface of the WAN that gateway.yaml names beside others.
type Uplink struct {
	Link     string
	NextHops []netip.Addr   // at most one of each family; none: as table main has it
	Sources  []netip.Prefix // of IPv6: what has such a source leaves by it (`source`)
}

// Uplinks returns what connections that came in through one of several WAN links are
// answered by: for each link a mark, a routing table and a policy rule, as a route has. A
// link has the same ones whatever the others are. One link alone needs none, and where
// routes leave no number the WAN answers. Those that gateway.yaml names are always there,
// and new connections leave by them, too.
func (c *Config) Uplinks(links []string) []Route {
	if c.WANGroup != nil {
		return c.namedUplinks()
	}
	links = slices.Clone(links)
	slices.Sort(links)
	if links = slices.Compact(links); len(links) < 2 {
		return nil
	}
	var out []Route
	for _, link := range links {
		n := c.uplinkNumber(link, nil)
		if n == 0 || slices.ContainsFunc(out, func(r Route) bool { return r.Number == n }) {
			continue
		}
		out = append(out, c.uplink(n, Egress{Kind: EgressInterface, Link: link}))
	}
	return out
}

func (c *Config) uplink(n int, e Egress) Route {
	return Route{
		Name: e.Link, Number: n, Mark: c.Mask.Mark(n), OnDown: Block,
		Table: DefaultTable + n, Priority: c.Priority + n, Egress: e,
	}
}

func (c *Config) namedUplinks() []Route {
	var out []Route
	for _, u := range c.WANUplinks {
		e := Egress{Kind: EgressInterface, Link: u.Link}
		if len(u.NextHops) > 0 {
			e.Kind, e.NextHops = EgressNextHop, u.NextHops
		}
		if n := c.uplinkNumber(u.Link, out); n != 0 {
			out = append(out, c.uplink(n, e))
		}
	}
	return out
}

// uplinkNumber returns a number from a hash of the link's name that no route has, nor its
// table or priority; 0: there is none.
func (c *Config) uplinkNumber(link string, taken []Route) int {
	h := fnv.New32a()
	h.Write([]byte(link))
	most := min(c.Mask.Max()-1, WANLabel-1) // the last one is the WAN's
	for i := range most {
		n := (int(h.Sum32()%uint32(most))+i)%most + 1
		if !slices.ContainsFunc(slices.Concat(c.Routes, taken), func(r Route) bool {
			return r.Mark == c.Mask.Mark(n) || r.Table == DefaultTable+n || r.Priority == c.Priority+n
		}) {
			return n
		}
	}
	return 0
}
