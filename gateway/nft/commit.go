package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// gathering is what one learning transaction is made from; its memory is reused.
type gathering struct {
	requests []*request
	wanted   map[*learned]map[netip.Addr]int64 // until when elements shall live
	elems    []element
}

// commit serves requests by one transaction. Requests that cannot succeed are
// answered and taken out, and the rest is sent again; when that does not help, each
// is sent by itself, so that one bad request does not fail its neighbours.
func (k *Kernel) commit(requests []*request) {
	var err error
	for range maxRounds {
		requests = k.collect(requests)
		if len(requests) == 0 {
			return
		}
		if err = k.send(); err == nil {
			k.record()
			answer(requests, nil)
			return
		}
		if errors.Is(err, errTransport) {
			if err := k.reconnect(); err != nil {
				answer(requests, fmt.Errorf("learn: %w", err))
				return
			}
		} else if !k.explain(err) {
			break
		}
	}
	err = fmt.Errorf("learn: %w", err)
	if len(requests) == 1 || !ofOneElement(err) {
		answer(requests, err)
		return
	}
	for _, r := range slices.Clone(requests) {
		k.commit([]*request{r})
	}
}

// ofOneElement reports whether a refusal can be one element's fault. Others hold for
// all requests, and each further try would stop every writer for 16 ms.
func ofOneElement(err error) bool {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.ERANGE, unix.EEXIST, unix.EBUSY} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func answer(requests []*request, err error) {
	for _, r := range requests {
		r.done <- err
	}
}

// collect works out what must be sent, each address once with the longest life that
// was asked for. It answers requests that cannot succeed and returns the others.
func (k *Kernel) collect(requests []*request) []*request {
	if k.gather.wanted == nil {
		k.gather.wanted = map[*learned]map[netip.Addr]int64{}
	}
	for _, wanted := range k.gather.wanted {
		clear(wanted)
	}
	left := requests[:0]
	for _, r := range requests {
		switch err := k.want(r); {
		case errors.Is(err, errLater):
			k.later = append(k.later, r)
		case err != nil:
			r.done <- err
		default:
			left = append(left, r)
		}
	}
	return left
}

// want adds a request's addresses to the transaction, all or none.
func (k *Kernel) want(r *request) error {
	now := k.clock.now()
	for _, a := range r.addrs {
		if !a.IsValid() {
			return errors.New("learn: invalid address")
		}
		ref := *r.pair.of(plain(a))
		s, err := k.ready(ref)
		if err != nil {
			return fmt.Errorf("learn %s in set %s: %w", a, ref, err)
		}
		if end, ok := s.ends.Load(plain(a)); (!ok || end <= now) && s.paused > now {
			return fmt.Errorf("learn %s in set %s: %w", a, ref, ErrSetFull)
		}
	}
	sets := *k.sets.Load()
	for _, a := range r.addrs {
		a = plain(a)
		s := sets[*r.pair.of(a)]
		end, ok := s.ends.Load(a)
		if ok && end >= now+int64(r.need) && s.live.Load() {
			continue // others asked for it meanwhile
		}
		if end == forever && ok {
			continue
		}
		wanted := k.gather.wanted[s]
		if wanted == nil {
			wanted = map[netip.Addr]int64{}
			k.gather.wanted[s] = wanted
		}
		wanted[a] = max(wanted[a], end, now+int64(r.want))
	}
	return nil
}

// errLater says that a request must wait for the table that is being applied.
var errLater = errors.New("later")

// ready finds the set to learn into. One that is not known yet is looked for and
// read; one that was lost is restored first. While a table is being applied, a set of
// it takes elements as soon as it exists; before that, requests wait.
func (k *Kernel) ready(ref SetRef) (*learned, error) {
	s := (*k.sets.Load())[ref]
	if s != nil && (s.live.Load() || (k.applying && s.there)) {
		return s, nil
	}
	if k.applying {
		return nil, errLater
	}
	if k.isOurs(ref) {
		if s == nil {
			return nil, ErrNoSet
		}
		return s, k.restore([]string{"set " + ref.String() + " lost"})
	}
	return k.follow(ref)
}

// isOurs reports whether a set belongs to the table that we make.
func (k *Kernel) isOurs(ref SetRef) bool {
	return k.applied != nil && ref.Family == "inet" && ref.Table == k.applied.Name
}

// send makes the transaction and sends it.
func (k *Kernel) send() error {
	b := k.begin()
	now := k.clock.now()
	for s, wanted := range k.gather.wanted {
		elems := k.gather.elems[:0]
		flush := func() {
			if len(elems) == 0 {
				return
			}
			k.prolong(b, s, elems)
			elems = elems[:0]
		}
		for a, end := range wanted {
			d := durationUntil(end, now)
			e := element{key: a, timeout: d}
			if k.features.Update {
				e.expires = d
			}
			if elems = append(elems, e); len(elems) == maxPerMessage {
				flush()
			}
		}
		flush()
		k.gather.elems = elems
	}
	return k.sock.transact(b)
}

// prolong adds elements or moves their ends. Kernels before 6.12 ignore an addition
// of what is there; so the element is deleted and added again in the same
// transaction, which no packet can see. The first addition is for the deletion: of an
// element that has just expired it would fail (ENOENT).
func (k *Kernel) prolong(b *batch, s *learned, elems []element) {
	for _, ref := range s.refs {
		b.elements(unix.NFT_MSG_NEWSETELEM, ref, s, elems)
		if !k.features.Update {
			b.elements(unix.NFT_MSG_DELSETELEM, ref, s, elems)
			b.elements(unix.NFT_MSG_NEWSETELEM, ref, s, elems)
		}
	}
}

// durationUntil is the time left, at least a millisecond: the kernel takes no time
// at all for an element that stays.
func durationUntil(end, now int64) time.Duration {
	return time.Duration(max(end-now, int64(time.Millisecond)))
}

// record makes what the kernel has acknowledged known to everybody.
func (k *Kernel) record() {
	k.commits.Add(1)
	for s, wanted := range k.gather.wanted {
		for a, end := range wanted {
			s.ends.Store(a, end)
		}
	}
}

// explain finds out which requests a refusal is about; collect takes them out. It
// reports whether sending again makes sense.
func (k *Kernel) explain(err error) bool {
	var r *refusal
	if !errors.As(err, &r) || r.op.set == nil {
		return false
	}
	switch r.errno {
	case unix.ENFILE:
		return k.full(r.op.set)
	case unix.ENOENT:
		r.op.set.live.Store(false)
		r.op.set.there = false
		return true
	}
	return false
}

// reconnect opens the socket anew. An owned table has lost its owner by that, so it
// is adopted at once.
func (k *Kernel) reconnect() error {
	if err := k.reopen(); err != nil {
		return err
	}
	if k.applied == nil || k.applying {
		return nil
	}
	return k.restore([]string{"netlink socket broke"})
}
