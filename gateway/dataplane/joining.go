package dataplane

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/gateway/pkg/span"
)

// evictAgain is the least time after which flows to what has joined are looked at once
// more: a dump of a changing table may miss some, and packets that were under way may
// begin a flow that looks older than the set element. Twice that is the most.
const evictAgain = 300 * time.Millisecond

// recheck is what is looked at once more, by route name: what is due with the next walk
// from then on, and what has joined since that was decided.
type recheck struct {
	at        time.Time // zero: nothing is
	due, next map[string]joining
}

// add adds what was looked at for a route.
func (r *recheck) add(j joining, now time.Time) {
	if r.at.IsZero() {
		r.at, r.due, r.next = now.Add(evictAgain), map[string]joining{}, map[string]joining{}
		r.due[j.route.Name] = j
		return
	}
	if old, ok := r.next[j.route.Name]; ok {
		all := maps.Clone(old.learned)
		maps.Copy(all, j.learned)
		j.looked, j.learned = old.looked, all
	}
	r.next[j.route.Name] = j
}

// take returns what is due.
func (r *recheck) take(now time.Time) map[string]joining {
	if r.at.IsZero() || now.Before(r.at) {
		return nil
	}
	due := r.due
	if len(r.next) == 0 {
		*r = recheck{}
	} else {
		r.at, r.due, r.next = now.Add(evictAgain), r.next, map[string]joining{}
	}
	return due
}

// ranges are merged ranges of addresses, of IPv4 and of IPv6.
type ranges [2][]span.Range

func (r *ranges) has(a netip.Addr) bool {
	if a.Is4() {
		return span.Within(r[0], a)
	}
	return span.Within(r[1], a)
}

// joining is what joins one route. What the ranges hold is never changed.
type joining struct {
	route   gateway.Route
	covered ranges              // by its lists
	looked  ranges              // covered when connections were last looked at
	learned map[netip.Addr]bool // since then
	all     bool                // and all that the route has learned before
}

// fresh reports whether anything has joined since connections were last looked at.
func (j *joining) fresh() bool {
	return j.all || len(j.learned) > 0 || !slices.Equal(j.covered[0], j.looked[0]) || !slices.Equal(j.covered[1], j.looked[1])
}

// claims reports whether an address has joined.
func (j *joining) claims(a netip.Addr) bool {
	if gateway.IsSpecial(a) && !j.route.TakesPrivate() {
		return false
	}
	return j.learned[a] || j.covered.has(a) && !j.looked.has(a)
}

// eviction is what one walk over the connections is for.
type eviction struct {
	gap      bool                  // flows have begun without our table
	uplinks  []gateway.Route       // of the WAN, that flows without a route were given to
	byWAN    func(netip.Addr) bool // listed for the WAN
	routes   []joining
	excluded ranges
}

// routed reports whether a flow has a route, or the WAN: by its choice or by a list.
func (w *eviction) routed(f conntrack.Flow) bool {
	given := slices.ContainsFunc(w.uplinks, func(u gateway.Route) bool { return f.Labelled(u.Number) && u.Mark.Matches(f.Mark) })
	return f.Routed() && (!given || f.Labelled(gateway.WANLabel) || w.byWAN(f.Dst))
}

// walk calls do for the flows that may have no route.
func (w *eviction) walk(flows func(of gateway.Mark) error) error {
	marks := []gateway.Mark{{Mask: w.routes[0].route.Mark.Mask}}
	for _, u := range w.uplinks {
		marks = append(marks, u.Mark)
	}
	var errs []error
	for _, m := range marks {
		errs = append(errs, flows(m))
	}
	return errors.Join(errs...)
}

// route returns the route that a flow has to take, nil to leave it alone. A destination
// that a NAT rule translates counts as well as what it is translated to.
func (w *eviction) route(f conntrack.Flow) *joining {
	if w.routed(f) || w.excluded.has(f.Dst) || w.excluded.has(f.To) {
		return nil
	}
	for i := range w.routes {
		if r := &w.routes[i]; r.claims(f.Dst) && r.route.Match.Holds(f.Proto, f.Port) {
			return r
		}
	}
	return nil
}
