package gateway

import (
	"hash/fnv"
	"slices"
)

// Uplinks returns what connections that came in through one of several WAN links are
// answered by: for each link a mark, a routing table and a policy rule, as a route has. A
// link has the same ones whatever the others are. One link alone needs none, and where
// routes leave no number the WAN answers.
func (c *Config) Uplinks(links []string) []Route {
	links = slices.Clone(links)
	slices.Sort(links)
	if links = slices.Compact(links); len(links) < 2 {
		return nil
	}
	var out []Route
	for _, link := range links {
		n := c.uplinkNumber(link)
		if n == 0 || slices.ContainsFunc(out, func(r Route) bool { return r.Number == n }) {
			continue
		}
		out = append(out, Route{
			Name: link, Number: n, Mark: c.Mask.Mark(n), OnDown: Block,
			Table: DefaultTable + n, Priority: c.Priority + n,
			Egress: Egress{Kind: EgressInterface, Link: link},
		})
	}
	return out
}

// uplinkNumber returns a number from a hash of the link's name that no route has, nor its
// table or priority; 0: there is none.
func (c *Config) uplinkNumber(link string) int {
	h := fnv.New32a()
	h.Write([]byte(link))
	most := c.Mask.Max() - 1 // the last one is the WAN's
	for i := range most {
		n := (int(h.Sum32()%uint32(most))+i)%most + 1
		if !slices.ContainsFunc(c.Routes, func(r Route) bool {
			return r.Mark == c.Mask.Mark(n) || r.Table == DefaultTable+n || r.Priority == c.Priority+n
		}) {
			return n
		}
	}
	return 0
}
