package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// watch listens to what others do to the ruleset. Its socket is never written to.
type watch struct {
	conn   atomic.Pointer[netlink.Conn]
	closed atomic.Bool
	done   chan struct{}
}

// notice is what the watch tells the owner goroutine.
type notice struct {
	elems   *event   // elements that others added to or deleted from a set that we follow
	changed []string // what others changed of our table
	sets    []SetRef // sets of others' tables that we follow, and that may be gone or back
	missed  bool     // events were lost: everything may have changed
}

// ensureWatch starts the watch where it is needed. An owned table cannot be touched
// by others, and a listener makes the kernel build an event for every element that is
// written; so there is none for it.
func (k *Kernel) ensureWatch() error {
	foreign := false
	for ref := range *k.sets.Load() {
		foreign = foreign || !k.isOurs(ref)
	}
	if k.watch != nil || (k.features.Mode == ModeOwned && !foreign) {
		return nil
	}
	conn, err := subscribe()
	if err != nil {
		return err
	}
	w := &watch{done: make(chan struct{})}
	w.conn.Store(conn)
	k.watch = w
	go k.listen(w)
	return nil
}

func subscribe() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("watch nftables: open netlink socket: %w", err)
	}
	if err := errors.Join(conn.SetReadBuffer(bufferSize), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch nftables: %w", err), conn.Close())
	}
	return conn, nil
}

func (k *Kernel) stopWatch() {
	if k.watch == nil {
		return
	}
	k.watch.closed.Store(true)
	// Closing is what ends the listener; a socket that was only read has nothing to lose.
	_ = k.watch.conn.Load().Close()
	for {
		select {
		case <-k.watch.done:
			return
		case <-k.notices: // the listener may be waiting for us to take one
		}
	}
}

// listen reads events until the watch is closed. When events were lost (ENOBUFS), or
// the socket broke, it subscribes anew and asks for everything to be verified.
func (k *Kernel) listen(w *watch) {
	defer close(w.done)
	var pending notice // of the transaction that is being reported
	for {
		msgs, err := w.conn.Load().Receive()
		if w.closed.Load() {
			return
		}
		if err != nil {
			pending = notice{}
			k.resubscribe(w)
			k.notices <- notice{missed: true}
			continue
		}
		for _, m := range msgs {
			k.observe(m, &pending)
		}
	}
}

// resubscribe replaces the watch's socket, however long that takes: without it
// nobody would notice a loss.
func (k *Kernel) resubscribe(w *watch) {
	_ = w.conn.Load().Close() // broken, and only ever read
	for wait := time.Millisecond; !w.closed.Load(); wait = min(2*wait, time.Second) {
		conn, err := subscribe()
		if err == nil {
			w.conn.Store(conn)
			if w.closed.Load() { // stopWatch may have closed the old one
				_ = conn.Close()
			}
			return
		}
		time.Sleep(wait)
	}
}

// observe takes in one event. Everything of one transaction is reported at once,
// when its NEWGEN, which comes last, is seen.
func (k *Kernel) observe(m netlink.Message, pending *notice) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || k.ports.has(m.Header.PID) {
		return
	}
	typ := uint16(m.Header.Type & 0xff)
	if typ == unix.NFT_MSG_NEWGEN {
		if len(pending.changed)+len(pending.sets) > 0 {
			k.notices <- *pending
			*pending = notice{}
		}
		return
	}
	e, ok := parseEvent(typ, m.Data)
	if !ok {
		return
	}
	if isElements(typ) {
		if _, known := (*k.sets.Load())[e.ref()]; known {
			k.notices <- notice{elems: &e}
			return
		}
	}
	k.structural(e, pending)
}

// structural notes a change of tables, sets, chains and rules. A set that goes is
// not trusted from this moment on.
func (k *Kernel) structural(e event, pending *notice) {
	gone := e.typ == unix.NFT_MSG_DELTABLE || e.typ == unix.NFT_MSG_DELSET
	for ref, s := range *k.sets.Load() {
		if ref.nfproto() != e.family || ref.Table != e.table || (isSet(e.typ) && ref.Name != e.name) {
			continue
		}
		if gone {
			s.live.Store(false)
		}
		if gone || isSet(e.typ) {
			pending.sets = append(pending.sets, ref)
		}
	}
	_, of := eventWords[e.typ]
	if of && e.family == unix.NFPROTO_INET && e.table == k.options.Table {
		if what := e.String(); !slices.Contains(pending.changed, what) {
			pending.changed = append(pending.changed, what)
		}
	}
}

// ref names the set of an element event.
func (e event) ref() SetRef {
	for name, number := range tableFamilies {
		if number == e.family {
			return SetRef{Family: name, Table: e.table, Name: e.name}
		}
	}
	return SetRef{}
}

var eventWords = map[uint16]string{
	unix.NFT_MSG_NEWTABLE: "table %s added or changed", unix.NFT_MSG_DELTABLE: "table %s deleted",
	unix.NFT_MSG_NEWSET: "set %s added", unix.NFT_MSG_DELSET: "set %s deleted",
	unix.NFT_MSG_NEWCHAIN: "chain %s added or changed", unix.NFT_MSG_DELCHAIN: "chain %s deleted",
	unix.NFT_MSG_NEWSETELEM: "elements added to set %s", unix.NFT_MSG_DELSETELEM: "elements deleted from set %s",
	unix.NFT_MSG_NEWRULE: "rule added to chain %s", unix.NFT_MSG_DELRULE: "rule deleted from chain %s",
}

func (e event) String() string {
	return fmt.Sprintf(eventWords[e.typ], strings.TrimSpace("inet "+e.table+" "+e.name))
}

// heed acts on what the watch saw.
func (k *Kernel) heed(n notice) {
	switch {
	case n.elems != nil:
		k.heedElements(*n.elems)
		return
	case n.missed:
		for _, s := range *k.sets.Load() {
			s.live.Store(false)
		}
		n.changed = []string{"events were lost"}
	}
	sets := *k.sets.Load()
	for _, ref := range n.sets {
		if s := sets[ref]; s != nil {
			s.live.Store(false) // it may have been restored before this was heard: look again
		}
	}
	for ref, s := range sets {
		if !k.isOurs(ref) && !s.live.Load() {
			// An error means that the set is not there: its return makes an event, and
			// whoever learns into it before is told.
			_, _ = k.follow(ref)
		}
	}
	switch {
	case len(n.changed) == 0 || k.applied == nil:
	case k.applying:
		k.changed = true
	default:
		// Told by OnLoss, and tried again.
		_ = k.restore(n.changed)
	}
}

// heedElements follows what others did to elements of a set that we learn into.
// Deletions are believed only here, on the owner goroutine, and so after all that was
// acknowledged before them.
func (k *Kernel) heedElements(e event) {
	s := (*k.sets.Load())[e.ref()]
	if s == nil {
		return
	}
	for _, el := range e.elems {
		if e.typ == unix.NFT_MSG_DELSETELEM {
			s.ends.Delete(plain(el.key))
		} else {
			s.note(el, k.clock.now())
		}
	}
}

// restore makes our table what it was, with its learned elements, and tells OnLoss.
// What fails is tried again later, with growing pauses.
func (k *Kernel) restore(what []string) error {
	began := time.Now()
	changes, err := k.apply(context.Background(), k.applied)
	if err != nil {
		k.backoff = min(max(2*k.backoff, 50*time.Millisecond), 5*time.Second)
		k.again.Reset(k.backoff)
	} else {
		k.backoff = 0
		if !k.changed { // else apply has asked for another look: that may be behind what it read
			k.again.Stop()
		}
	}
	if k.options.OnLoss != nil && (changes > 0 || err != nil) {
		k.options.OnLoss(Loss{What: what, Changes: changes, Took: time.Since(began), Err: err})
	}
	return err
}
