package dataplane

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

const (
	// maxReasons is how many names are kept for an address. One with more of them, of
	// a content network, stays until it lapses, whatever becomes of the lists.
	maxReasons = 16
	// maxAccounts bounds the addresses of a route of which the names are known. An
	// account takes some 200 bytes. Others stay until they lapse.
	maxAccounts = 1 << 17
)

// why remembers for which names a route's addresses were learned, so that those go
// that no listed name justifies any more. It never says that an address has no name
// when it may have one: where it does not know all names, the address stays. Methods
// may be called from any goroutine; has takes no lock and allocates nothing.
type why struct {
	start    time.Time
	seed     maphash.Seed
	accounts *xsync.Map[netip.Addr, account]
	size     int
}

// account is what is known of one address. It is immutable.
type account struct {
	unknown bool  // there are or were names that are not in reasons
	until   int64 // when the last of its names lapses, in nanoseconds since start
	reasons []reason
}

type reason struct {
	id    uint64 // of the name, whatever its case
	name  string
	until int64
}

func newWhy() *why {
	return &why{start: time.Now(), seed: maphash.MakeSeed(), accounts: xsync.NewMap[netip.Addr, account](), size: maxAccounts}
}

func (w *why) now() int64 { return int64(time.Since(w.start)) }

// id is a number for a name in any case.
func (w *why) id(name string) uint64 {
	var buf [256]byte
	b := append(buf[:0], name...)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return maphash.Bytes(w.seed, b)
}

// has reports whether a name is among the reasons for each of the addresses, for at
// least need from now.
func (w *why) has(id uint64, addrs []netip.Addr, need time.Duration) bool {
	until := w.now() + int64(need)
	for _, a := range addrs {
		acc, ok := w.accounts.Load(a)
		if !ok || !acc.has(id, until) {
			return false
		}
	}
	return true
}

func (a *account) has(id uint64, until int64) bool {
	if a.unknown {
		return a.until >= until
	}
	for i := range a.reasons {
		if a.reasons[i].id == id {
			return a.reasons[i].until >= until
		}
	}
	return false
}

// note adds a name to the reasons for addresses, for want from now. It must be called
// before anybody relies on an element for that name: see unjustified. known tells
// whether an address is in its set already; one without an account then has names that
// nobody remembers. An empty name stands for such names, too.
func (w *why) note(name string, addrs []netip.Addr, want time.Duration, known func(netip.Addr) bool) {
	id, now := w.id(name), w.now()
	name = strings.ToLower(strings.Clone(name))
	for _, a := range addrs {
		w.accounts.Compute(a, func(old account, ok bool) (account, xsync.ComputeOp) {
			if ok && old.until <= now {
				old, ok = account{}, false
			}
			if !ok {
				if w.accounts.Size() >= w.size {
					return old, xsync.DeleteOp
				}
				old.unknown = known(a)
			}
			return old.with(reason{id, name, now + int64(want)}, now), xsync.UpdateOp
		})
	}
}

// with is the account with one more reason, or with a later end of one that it has.
func (a account) with(r reason, now int64) account {
	next := account{unknown: a.unknown || r.name == "", until: max(a.until, r.until)}
	if next.unknown {
		return next
	}
	next.reasons = make([]reason, 0, len(a.reasons)+1)
	for _, old := range a.reasons {
		switch {
		case old.id == r.id:
			r.until = max(r.until, old.until)
		case old.until > now:
			next.reasons = append(next.reasons, old)
		}
	}
	if next.reasons = append(next.reasons, r); len(next.reasons) > maxReasons {
		next.unknown, next.reasons = true, nil
	}
	return next
}

// names are all names of an address; nil where they are not known.
func (w *why) names(a netip.Addr) []string {
	acc, ok := w.accounts.Load(a)
	if !ok || acc.unknown {
		return nil
	}
	now := w.now()
	var names []string
	for _, r := range acc.reasons {
		if r.until > now {
			names = append(names, r.name)
		}
	}
	return names
}

// unjustified takes out the accounts of at most limit addresses none of whose names is
// listed, and returns these. doubt is called for each while its account is locked: it
// must see to it that nobody relies on the element from then on without having it
// learned again. A name that is noted before is seen here and keeps the address; one
// that is noted after finds the address doubted. Lapsed accounts go, too.
func (w *why) unjustified(limit int, listed func(name string) bool, doubt func(netip.Addr)) []netip.Addr {
	var gone []netip.Addr
	w.accounts.Range(func(a netip.Addr, acc account) bool {
		if !acc.lapsed(w.now()) && !acc.idle(w.now(), listed) {
			return true
		}
		w.accounts.Compute(a, func(acc account, ok bool) (account, xsync.ComputeOp) {
			switch {
			case !ok || acc.lapsed(w.now()):
				return acc, xsync.DeleteOp
			case !acc.idle(w.now(), listed):
				return acc, xsync.CancelOp
			}
			doubt(a)
			gone = append(gone, a)
			return acc, xsync.DeleteOp
		})
		return len(gone) < limit
	})
	return gone
}

func (a *account) lapsed(now int64) bool { return a.until <= now }

// idle reports whether all names of an address are known, and none is listed.
func (a *account) idle(now int64, listed func(string) bool) bool {
	return !a.unknown && !slices.ContainsFunc(a.reasons, func(r reason) bool { return r.until > now && listed(r.name) })
}

// restore brings back an account that an earlier process stored with all its names.
func (w *why) restore(a netip.Addr, names []string, left time.Duration) {
	for _, n := range names {
		w.note(n, []netip.Addr{a}, left, func(netip.Addr) bool { return false })
	}
}

// sweep forgets what has lapsed.
func (w *why) sweep() {
	now := w.now()
	w.accounts.DeleteMatching(func(_ netip.Addr, a account) (del, stop bool) { return a.lapsed(now), false })
}
