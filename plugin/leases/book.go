package leases

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
)

// never is the expiry of an infinite lease.
const never = math.MaxInt64

// entry is one lease of a file.
type entry struct {
	addr    netip.Addr
	label   string // the client's name as answered; "" for none
	client  string // DHCPv6: the client's DUID
	since   int64  // start of the lease, in seconds since 1970, for comparing ages
	expires int64  // seconds since 1970; never
}

// leased is an address and when its lease ends.
type leased struct {
	addr    netip.Addr
	expires int64
}

// host is one client's name.
type host struct {
	label string
	addrs []leased
}

// live reports whether a client has a lease now. A nil host has none.
func (h *host) live(now int64) bool {
	return h != nil && slices.ContainsFunc(h.addrs, func(a leased) bool { return a.expires > now })
}

// book holds the leases of all files. It is immutable.
type book struct {
	hosts map[string]*host
	names map[netip.Addr]*host
}

// newBook makes a book of all unexpired entries with a name. Where two clients have the
// same name, the newer lease wins, as in dnsmasq: one address for IPv4, and all addresses
// of its client for IPv6. The families are independent, because the files do not tell
// which client has both.
func newBook(entries []entry, now int64) *book {
	b := &book{map[string]*host{}, map[netip.Addr]*host{}}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.since, b.since) })
	byAddress := map[netip.Addr]entry{} // two files may have the same address
	for _, e := range entries {
		byAddress[e.addr] = e
	}
	type claim struct {
		label string
		v4    bool
	}
	owner := map[claim]entry{}
	for _, e := range entries {
		if e.label != "" && e.expires > now && byAddress[e.addr] == e {
			owner[claim{e.label, e.addr.Is4()}] = e
		}
	}
	for _, e := range entries {
		if e.label == "" || e.expires <= now || byAddress[e.addr] != e || b.names[e.addr] != nil {
			continue
		}
		o := owner[claim{e.label, e.addr.Is4()}]
		if o != e && (e.addr.Is4() || e.client == "" || e.client != o.client) {
			continue
		}
		h := b.hosts[e.label]
		if h == nil {
			h = &host{label: e.label}
			b.hosts[e.label] = h
		}
		h.addrs = append(h.addrs, leased{e.addr, e.expires})
		b.names[e.addr] = h
	}
	return b
}
