// Package limit bounds what one client of the resolver brings in: addresses that are new to
// the sets of a route, and aliases.
package limit

import (
	"fmt"
	"hash/maphash"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/neighbour"
)

// numBuckets is how many clients are told apart. Two that share a bucket by chance share
// what is allowed; a client cannot choose with which other one.
const numBuckets = 1 << 14

// Limit bounds how much that is new one client adds, so that a flood of fresh names does not
// fill what all share. It is a leaky bucket for each client, stored as the time at which it
// is empty again (GCRA, ITU-T I.371), and one for each host of a link, which may send from
// any number of addresses. Its memory is fixed, and it takes no lock. A nil Limit allows
// everything.
type Limit struct {
	each    int64 // nanoseconds in which one leaks
	most    int64 // nanoseconds in which a full bucket leaks
	start   time.Time
	seed    maphash.Seed
	buckets []atomic.Int64 // by client or host: when it is empty, in nanoseconds since start
	hostOf  func(netip.Addr) neighbour.Host
}

const (
	// hostShare is how many times as much at once a host may add as a client: it may be the
	// router of many. In the long run it adds no more than one client: with the defaults and
	// an hour's life of what is added, no host fills a set.
	hostShare = 4
	// crowdedShare is the part of a bucket that is left to a client or host where what all
	// share is nearly full: what is left is for those who add little.
	crowdedShare = 10
)

// Rate is what one client may bring in: AtOnce, and PerMinute more each minute. The zero
// value is no limit.
type Rate struct{ PerMinute, AtOnce int }

// Default is the rate where the Corefile says none. A page adds some hundred new addresses,
// a morning of an office behind one address some thousands; a set has 65,536 for an hour at
// least.
var Default = Rate{600, 3000}

// maxRate bounds both numbers of a rate; more is `off`.
const maxRate = 1_000_000

// Parse reads the arguments of a property: PER_MINUTE [AT_ONCE] | off.
func Parse(args []string) (Rate, error) {
	if len(args) == 1 && args[0] == "off" {
		return Rate{}, nil
	}
	var numbers []int
	for _, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil || n < 1 || n > maxRate {
			break
		}
		numbers = append(numbers, n)
	}
	if len(numbers) != len(args) || len(args) < 1 || len(args) > 2 {
		return Rate{}, fmt.Errorf("%q: want how many one client may bring in a minute and, if you like, at once (1 to %d), or off", strings.Join(args, " "), maxRate)
	}
	r := Rate{numbers[0], max(numbers[0], Default.AtOnce)}
	if len(numbers) == 2 {
		r.AtOnce = numbers[1]
	}
	return r, nil
}

// New returns a limit to a rate, nil for none.
func New(r Rate) *Limit {
	if r == (Rate{}) {
		return nil
	}
	each := int64(time.Minute) / int64(r.PerMinute)
	return &Limit{each: each, most: each * int64(r.AtOnce), start: time.Now(), seed: maphash.MakeSeed(), buckets: make([]atomic.Int64, numBuckets), hostOf: neighbour.Of}
}

// Allow counts n that are new, of a client, or returns false where they are too many. An
// answer with more of them than are ever allowed at once counts as a full bucket. crowded
// says that what all share is nearly full. The box itself has no limit: see Client.
//
// The kernel is asked for the host only of an address that is not over its own limit. All for
// whom no host answers count as one of their link.
func (l *Limit) Allow(from net.Addr, n int, crowded bool) bool {
	client := Client(from)
	if l == nil || !client.IsValid() || n == 0 {
		return true
	}
	return l.allowAt(int64(time.Since(l.start)), client, address(from), n, crowded)
}

// member is what has a bucket: an address, a /64 of one host, or a host alone.
type member struct {
	client netip.Addr
	host   neighbour.Host
}

func (l *Limit) allowAt(now int64, client, from netip.Addr, n int, crowded bool) bool {
	cost, most := int64(n)*l.each, l.most
	if crowded {
		most /= crowdedShare
	}
	own, taken, ok := l.take(now, member{client: from.Unmap().WithZone("")}, cost, most)
	if !ok {
		return false
	}
	host := l.hostOf(from)
	var network *atomic.Int64 // of an IPv6 host, which may have many addresses
	if client.Is6() {
		if network, _, ok = l.take(now, member{client, host}, cost, most); !ok {
			own.Add(-taken)
			return false
		}
	}
	if _, _, ok := l.take(now, member{host: host}, cost, hostShare*most); !ok {
		own.Add(-taken)
		if network != nil {
			network.Add(-taken)
		}
		return false
	}
	return true
}

// take puts a cost into a bucket, where it fits.
func (l *Limit) take(now int64, m member, cost, most int64) (bucket *atomic.Int64, taken int64, ok bool) {
	bucket = &l.buckets[maphash.Comparable(l.seed, m)%numBuckets]
	cost = min(cost, most)
	for {
		old := bucket.Load()
		next := max(old, now) + cost
		if next-now > most {
			return nil, 0, false
		}
		if bucket.CompareAndSwap(old, next) {
			return bucket, cost, true
		}
	}
}

// address returns the address of a client; it has one where Client has.
func address(from net.Addr) netip.Addr {
	if ap, ok := from.(interface{ AddrPort() netip.AddrPort }); ok {
		return ap.AddrPort().Addr()
	}
	return netip.Addr{}
}

// Client returns the client to count: an IPv4 address, or the /64 of an IPv6 one, of which
// a host can have any number. It is invalid for the box itself, which is not limited: other
// programs may forward the queries of the whole LAN from its address.
func Client(from net.Addr) netip.Addr {
	a := address(from).Unmap()
	switch {
	case !a.IsValid():
		return netip.Addr{}
	case a.IsLoopback():
		return netip.Addr{}
	case a.Is6():
		p, err := a.WithZone("").Prefix(64)
		if err != nil {
			return netip.Addr{}
		}
		return p.Addr()
	}
	return a
}
