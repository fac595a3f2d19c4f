package nft

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/nameroute/nameroute/gateway/pkg/nlsocket"
	"golang.org/x/sys/unix"
)

// Watch listens to what other programs do to the ruleset. Its socket is never written to.
type Watch struct {
	options WatchOptions
	conn    atomic.Pointer[netlink.Conn]
	closed  atomic.Bool
	done    chan struct{}
}

// WatchOptions say what is watched. All are required.
type WatchOptions struct {
	Table    string            // of family inet
	Mine     func(uint32) bool // netlink ports whose changes are our own
	Followed iter.Seq[SetRef]  // sets whose elements are watched, in whatever table
	Deleted  func(SetRef)      // is told of a followed set at once, before the notice that follows
	Notices  chan<- Notice     // gets what other programs have done
}

// Notice tells what other programs have done.
type Notice struct {
	Set     SetRef    // a followed set in which they changed elements; else zero
	Added   []Element // to Set
	Deleted []Element // from Set
	Table   []string  // what they changed of the table: "table inet nameroute deleted"
	Sets    []SetRef  // followed sets that they deleted or made
	Missed  bool      // events were lost: everything may have changed
}

// NewWatch begins to listen.
func NewWatch(o WatchOptions) (*Watch, error) {
	conn, err := subscribe()
	if err != nil {
		return nil, err
	}
	w := &Watch{options: o, done: make(chan struct{})}
	w.conn.Store(conn)
	go w.listen()
	return w, nil
}

func subscribe() (*netlink.Conn, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("watch nftables: open netlink socket: %w", err)
	}
	if err := errors.Join(conn.SetReadBuffer(nlsocket.BufferSize), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		return nil, errors.Join(fmt.Errorf("watch nftables: %w", err), conn.Close())
	}
	return conn, nil
}

// Close ends the listening. The listener may be waiting for its notice to be taken: the
// receiver must drain the channel until Done.
func (w *Watch) Close() {
	w.closed.Store(true)
	// Closing is what ends the listener; a socket that was only read has nothing to lose.
	_ = w.conn.Load().Close()
}

// Done is closed when the listener has ended.
func (w *Watch) Done() <-chan struct{} { return w.done }

// listen reads events until the watch is closed. When events were lost (ENOBUFS), or the
// socket broke, it subscribes again and asks for everything to be verified.
func (w *Watch) listen() {
	defer close(w.done)
	var pending Notice // of the transaction that is being reported
	for {
		msgs, err := w.conn.Load().Receive()
		if w.closed.Load() {
			return
		}
		if err != nil {
			pending = Notice{}
			w.resubscribe()
			w.options.Notices <- Notice{Missed: true}
			continue
		}
		for _, m := range msgs {
			w.observe(m, &pending)
		}
	}
}

// resubscribe replaces the socket, however long that takes: without it no loss would be
// noticed.
func (w *Watch) resubscribe() {
	_ = w.conn.Load().Close() // broken, and only ever read
	for wait := time.Millisecond; !w.closed.Load(); wait = min(2*wait, time.Second) {
		conn, err := subscribe()
		if err == nil {
			w.conn.Store(conn)
			if w.closed.Load() { // Close may have closed the old one
				_ = conn.Close()
			}
			return
		}
		time.Sleep(wait)
	}
}

// observe reads one event. Everything of one transaction is reported at once, when its
// NEWGEN, which comes last, is seen.
func (w *Watch) observe(m netlink.Message, pending *Notice) {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || w.options.Mine(m.Header.PID) {
		return
	}
	typ := uint16(m.Header.Type & 0xff)
	if typ == unix.NFT_MSG_NEWGEN {
		if len(pending.Table)+len(pending.Sets) > 0 {
			w.options.Notices <- *pending
			*pending = Notice{}
		}
		return
	}
	e, ok := parseEvent(typ, m.Data)
	if !ok {
		return
	}
	if isElements(typ) && w.follows(e.ref()) {
		n := Notice{Set: e.ref()}
		if typ == unix.NFT_MSG_DELSETELEM {
			n.Deleted = exportElements(e.elems)
		} else {
			n.Added = exportElements(e.elems)
		}
		w.options.Notices <- n
		return
	}
	w.observeStructure(e, pending)
}

func (w *Watch) follows(set SetRef) bool {
	for ref := range w.options.Followed {
		if ref == set {
			return true
		}
	}
	return false
}

// observeStructure notes a change of tables, sets, chains and rules.
func (w *Watch) observeStructure(e event, pending *Notice) {
	deleted := e.typ == unix.NFT_MSG_DELTABLE || e.typ == unix.NFT_MSG_DELSET
	for ref := range w.options.Followed {
		if ref.nfproto() != e.family || ref.Table != e.table || (isSet(e.typ) && ref.Name != e.name) {
			continue
		}
		if deleted {
			w.options.Deleted(ref)
		}
		if deleted || isSet(e.typ) {
			pending.Sets = append(pending.Sets, ref)
		}
	}
	_, told := eventWords[e.typ]
	if told && e.family == unix.NFPROTO_INET && e.table == w.options.Table {
		if what := e.String(); !slices.Contains(pending.Table, what) {
			pending.Table = append(pending.Table, what)
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
