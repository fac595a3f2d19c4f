package learned

import (
	"net/netip"
	"slices"

	"github.com/puzpuzpuz/xsync/v4"
)

const (
	// maxNames is how many names are kept for an address. One with more of them, of a
	// content network, stays until it lapses, whatever becomes of the lists.
	maxNames = 16
	// maxNamed bounds the addresses of a set whose names are known. Names take some 200
	// bytes an address. Other addresses stay until they lapse.
	maxNamed = 1 << 16
)

// record is what is known of one address in a set. It is immutable.
type record struct {
	end      int64 // when the element expires, in the clock's nanoseconds; or forever
	asked    int64 // when it would, but for Prolong
	unknown  bool  // it has, or had, names that are not in names: it stays until it lapses
	names    []nameRef
	namesEnd int64 // the latest end of a name
}

// nameRef is a name that an address was learned for.
type nameRef struct {
	id   uint64 // of the name, whatever its case
	name string
	end  int64
}

// knows reports whether a name is accounted for at least until then.
func (r *record) knows(id uint64, until int64) bool {
	if r.unknown {
		return true
	}
	for i := range r.names {
		if r.names[i].id == id {
			return r.names[i].end >= until
		}
	}
	return false
}

// withName returns the record with one more name, or with a later end of one that it has.
// An empty name means names that are not known.
func (r record) withName(n nameRef, now int64) record {
	if len(r.names) > 0 && r.namesEnd <= now {
		r.unknown = true // all its names have lapsed, and it is still in the set
	}
	if r.unknown || n.name == "" {
		return record{end: r.end, asked: r.asked, unknown: true}
	}
	names := make([]nameRef, 0, len(r.names)+1)
	for _, old := range r.names {
		switch {
		case old.id == n.id:
			n.end = max(n.end, old.end)
		case old.end > now:
			names = append(names, old)
		}
	}
	if names = append(names, n); len(names) > maxNames {
		return record{end: r.end, asked: r.asked, unknown: true}
	}
	return record{end: r.end, asked: r.asked, names: names, namesEnd: max(r.namesEnd, n.end)}
}

// unlisted reports whether all names of an address are known, and none of them is listed.
// Where all have lapsed, nothing is known any more.
func (r *record) unlisted(now int64, listed func(string) bool) bool {
	return !r.unknown && r.end != forever && r.namesEnd > now &&
		!slices.ContainsFunc(r.names, func(n nameRef) bool { return n.end > now && listed(n.name) })
}

// currentNames lists the names that have not lapsed; nil where they are not known.
func (r *record) currentNames(now int64) (names []string) {
	for _, n := range r.names {
		if n.end > now {
			names = append(names, n.name)
		}
	}
	return names
}

// load returns the record of an address that has not lapsed.
func (s *set) load(a netip.Addr, now int64) (record, bool) {
	r, ok := s.records.Load(a)
	return r, ok && r.end > now
}

// put makes an acknowledged element known, with the name that it was learned for.
func (s *set) put(a netip.Addr, end int64, name nameRef, now int64) {
	s.records.Compute(a, func(r record, ok bool) (record, xsync.ComputeOp) {
		if !ok || r.end <= now {
			r = record{unknown: s.records.Size() >= s.maxNamed}
		}
		r.end, r.asked = max(r.end, end), max(r.asked, end)
		return r.withName(name, now), xsync.UpdateOp
	})
}

// attach adds a name to an address that is in the set at least until then, and reports
// whether it is.
func (s *set) attach(a netip.Addr, until int64, name nameRef, now int64) (in bool) {
	s.records.Compute(a, func(r record, ok bool) (record, xsync.ComputeOp) {
		in = ok && r.end >= until && s.trusted.Load()
		if !in || r.knows(name.id, until) {
			return r, xsync.CancelOp
		}
		return r.withName(name, now), xsync.UpdateOp
	})
	return in
}

// take removes the record of an address all of whose names are known and none listed, and
// returns it if it did. An Ensure that adds a name before is seen here and keeps the
// address; one that comes later misses the record, and has the address learned again.
func (s *set) take(a netip.Addr, now int64, listed func(string) bool) (old record, taken bool) {
	s.records.Compute(a, func(r record, ok bool) (record, xsync.ComputeOp) {
		if !ok || !r.unlisted(now, listed) {
			return r, xsync.CancelOp
		}
		old, taken = r, true
		return r, xsync.DeleteOp
	})
	return old, taken
}
