package nft

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/google/nftables/userdata"
	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// Element is an address in a set.
type Element struct {
	Addr    netip.Addr
	Expires time.Duration // time left; 0: it stays
}

// Elements reads a set of addresses from the kernel, in no order. It uses a socket
// of its own and holds up nobody; for large sets it takes some 2 us an element.
func (k *Kernel) Elements(ref SetRef) ([]Element, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	defer r.close()
	elems, err := r.elements(ref)
	if err != nil {
		return nil, err
	}
	out := make([]Element, len(elems))
	for i, e := range elems {
		out[i] = Element{Addr: plain(e.key), Expires: e.expires}
	}
	return out, nil
}

// Remaining is how much longer an address surely stays in a set, from the expiry
// table; it asks no kernel. ok is false for one that is not known to be there.
func (k *Kernel) Remaining(ref SetRef, a netip.Addr) (left time.Duration, ok bool) {
	s := (*k.sets.Load())[ref]
	if s == nil || !s.live.Load() {
		return 0, false
	}
	now := k.clock.now()
	end, ok := s.ends.Load(plain(a))
	if !ok || end <= now {
		return 0, false
	}
	return time.Duration(end - now), true
}

// Counter counts packets and their bytes.
type Counter struct {
	Packets, Bytes uint64
}

// Add is the sum of two counters.
func (c Counter) Add(more Counter) Counter {
	return Counter{c.Packets + more.Packets, c.Bytes + more.Bytes}
}

// RuleCounter is what one rule of a table has counted.
type RuleCounter struct {
	Chain, Comment string
	Counter
}

// ReadCounters reads the counters of a table's rules, and of its twin's, whoever owns it.
// Without a table there are none.
func ReadCounters(table string) ([]RuleCounter, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	defer r.close()
	var out []RuleCounter
	for _, name := range []string{table, replicaOf(table)} {
		rules, err := r.rules(unix.NFPROTO_INET, name)
		if err != nil && !errors.Is(err, ErrNoSet) {
			return nil, err
		}
		for _, rule := range rules {
			packets, bytes := rule.counters()
			out = append(out, RuleCounter{rule.chain, rule.said(), Counter{packets, bytes}})
		}
	}
	return out, nil
}

// CheckSets is the function of that name, and from now on follows the sets: others'
// sets that are emptied or made anew get back what was learned.
func (k *Kernel) CheckSets(ctx context.Context, pair SetPair) error {
	r, err := openReader()
	if err != nil {
		return err
	}
	defer r.close()
	if err := checkSets(r, pair, k.ports.has); err != nil {
		return err
	}
	return k.do(ctx, func() error {
		for _, ref := range []SetRef{pair.Set4, pair.Set6} {
			if k.isOurs(ref) {
				continue
			}
			if _, err := k.follow(ref); err != nil {
				return fmt.Errorf("set %s: %w", ref, err)
			}
		}
		return nil
	})
}

// follow reads somebody else's set, and puts back into it what was learned and is
// not there.
func (k *Kernel) follow(ref SetRef) (*learned, error) {
	r, err := openReader()
	if err != nil {
		return nil, err
	}
	defer r.close()
	have, err := r.set(ref)
	if err != nil {
		return nil, err
	}
	family := gateway.V4
	if have.keyType == typeIPv6 {
		family = gateway.V6
	}
	if err := have.learnable(family); err != nil {
		return nil, err
	}
	s := k.track(ref)
	s.size = have.size
	// The watch must listen before the set is read, or a deletion in between is missed.
	if err := k.ensureWatch(); err != nil {
		return nil, err
	}
	missing, err := k.read(r, s)
	if err != nil {
		return nil, err
	}
	if _, err := k.fill(s, missing, func() {}); err != nil {
		return nil, err
	}
	s.live.Store(true)
	return s, nil
}

// said is a rule's comment, "" where it has none.
func (s ruleState) said() string {
	for data := s.comment; len(data) >= 2 && len(data) >= 2+int(data[1]); data = data[2+int(data[1]):] {
		if data[0] == byte(userdata.TypeComment) {
			return cString(data[2 : 2+int(data[1])])
		}
	}
	return ""
}
