package learned

import (
	"cmp"
	"context"
	"io"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway/nft"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Save replaces a file by what is learned now into the sets of routes, with the names if
// they shall be stored. Other programs, and the next process after a crash, see the old
// file or the new one.
func (s *Store) Save(file string, routes map[string]nft.SetPair, names bool) error {
	all := s.saved(routes, names)
	return statefile.Replace(file, 0o600, func(w io.Writer) error { return writeFile(w, time.Now(), all) })
}

// saved lists what all sets hold, at most maxFile of them.
func (s *Store) saved(routes map[string]nft.SetPair, names bool) []saved {
	var all []saved
	for route, pair := range routes {
		for _, ref := range []nft.SetRef{pair.Set4, pair.Set6} {
			for _, e := range s.Learned(ref) {
				one := saved{route: route, addr: e.Addr, left: e.Left}
				if names {
					one.names = s.Names(ref, e.Addr)
				}
				all = append(all, one)
			}
		}
	}
	if len(all) > maxFile {
		slices.SortFunc(all, func(a, b saved) int { return cmp.Compare(b.left, a.left) })
		all = all[:maxFile]
	}
	return all
}

// Load reads what an earlier process saved, before the first Apply or CheckSets, which
// read the sets and put back what the kernel does not have (after a reboot), the elements
// that expire last first; of what the kernel has, its own times count. pairs returns the
// sets of a route; addresses of routes that have none are left out, and so are sets that are
// followed already. Nothing lives for longer
// than most. Errors about the content wrap ErrForeign.
func (s *Store) Load(ctx context.Context, file string, pairs func(route string) (nft.SetPair, bool), most time.Duration) error {
	f, err := statefile.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := readFile(f, time.Now(), most)
	if err != nil {
		return err
	}
	return s.do(ctx, func() error {
		for _, one := range all {
			if pair, ok := pairs(one.route); ok {
				s.restoreSaved(*pair.Of(one.addr), one)
			}
		}
		return nil
	})
}

func (s *Store) restoreSaved(ref nft.SetRef, one saved) {
	set := s.track(ref)
	if set.trusted.Load() {
		return
	}
	now := s.clock.now()
	end := now + int64(one.left)
	r := record{end: end, asked: end, unknown: len(one.names) == 0}
	for _, name := range one.names {
		r = r.withName(nameRef{s.id(name), name, end}, now)
	}
	if set.records.Size() >= set.maxNamed {
		r = record{end: end, asked: end, unknown: true}
	}
	set.records.LoadOrStore(one.addr, r)
}
