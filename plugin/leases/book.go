package leases

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
)

// never is when an infinite lease ends.
const never = math.MaxInt64

// entry is one lease as a file has it.
type entry struct {
	addr    netip.Addr
	label   string // the client's name as it is answered; "" for none
	client  string // DHCPv6: the client's DUID
	since   int64  // orders leases by age: the later one is newer
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

// book is what all files say together. It is never changed once it is made.
type book struct {
	hosts map[string]*host
	names map[netip.Addr]*host
}

// newBook makes the book of all entries that have a name and whose lease has not
// ended. Where two clients have one name the newer lease has it, as with dnsmasq: for
// IPv4 it is one address, for IPv6 all that its client has. The families do not
// disturb each other, since nothing tells whose both are.
func newBook(entries []entry, now int64) *book {
	b := &book{map[string]*host{}, map[netip.Addr]*host{}}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.since, b.since) })
	byAddress := map[netip.Addr]entry{} // two files may have one address
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
