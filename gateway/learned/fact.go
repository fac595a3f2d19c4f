package learned

import (
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
)

// Fact is what is known of an address in a set.
type Fact struct {
	Left      time.Duration // until the element expires
	Permanent bool          // it never does: another program has put it there
	Names     []Name        // that it was learned for
	Unknown   bool          // it has, or had, other names
}

// Name is a name that an address was learned for.
type Name struct {
	Name string
	Left time.Duration // until the last answer with it has lapsed
}

// Fact returns what is known of an address; ok is false where it is not in the set. It asks
// no kernel.
func (s *Store) Fact(ref nft.SetRef, a netip.Addr) (f Fact, ok bool) {
	set := (*s.sets.Load())[ref]
	if set == nil {
		return f, false
	}
	now := s.clock.now()
	r, ok := set.load(plain(a), now)
	if !ok {
		return f, false
	}
	f.Unknown, f.Permanent = r.unknown, r.end == forever
	if !f.Permanent {
		f.Left = time.Duration(r.end - now)
	}
	for _, n := range r.names {
		if n.end > now {
			f.Names = append(f.Names, Name{n.name, time.Duration(n.end - now)})
		}
	}
	return f, true
}
