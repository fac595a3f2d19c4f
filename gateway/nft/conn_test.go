package nft

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
	"golang.org/x/sys/unix"
)

// TestNoBuffers: replies that were not read fill the socket's buffer, and the kernel
// drops the next ones (ENOBUFS). The connection says that it broke, and can be reopened.
func TestNoBuffers(t *testing.T) {
	netlab.Need(t, "nft")
	c, err := Open(Options{Table: "lost_replies", Force: ModePlain})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := newBatch(nil)
	b.newTable("lost_replies", 0)
	b.newSet("lost_replies", Set{Name: "s", Family: gateway.V4, Timeout: true})
	if err := c.sock.transact(b); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	}()
	set := SetRef{"inet", "lost_replies", "s"}
	if err := unix.SetsockoptInt(c.sock.FD(), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		b := newBatch(nil)
		c.change(b, set, Put, []Element{{Addr: addr("8.8.8.8"), Left: time.Hour}})
		b.finish()
		b.number(c.sock.seq + 1)
		c.sock.seq += uint32(len(b.ops)) + 2
		if err := c.sock.Send(b.buf); err != nil {
			t.Fatal(err)
		}
	}
	change := []Change{{Set: set, Op: Put, Elems: []Element{{Addr: addr("9.9.9.9"), Left: time.Hour}}}}
	if err := c.Commit(change); !errors.Is(err, ErrBroken) {
		t.Errorf("committed with %v", err)
	}
	if err := c.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(change); err != nil {
		t.Error(err)
	}
	elems, err := ReadElements(set)
	if err != nil || len(elems) != 2 {
		t.Errorf("%v, %v", elems, err)
	}
}

// TestCommit: each operation does what it says, in place or by adding, deleting and
// adding.
func TestCommit(t *testing.T) {
	netlab.Need(t, "nft")
	for _, o := range []Options{{}, {NoUpdate: true}} {
		o.Table, o.Force = "operations", ModePlain
		c, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := newBatch(nil)
		b.newTable(o.Table, 0)
		b.newSet(o.Table, Set{Name: "s", Family: gateway.V4, Timeout: true})
		if err := c.sock.transact(b); err != nil {
			t.Fatal(err)
		}
		set := SetRef{"inet", o.Table, "s"}
		for _, step := range []struct {
			op   Op
			left time.Duration
			want time.Duration // that the element is left; 0: it is not there
			err  bool
		}{
			{Put, time.Minute, time.Minute, false},
			{Put, time.Hour, time.Hour, false},
			{Put, time.Minute, time.Minute, false},
			{Take, 0, 0, false},
			{Take, 0, 0, false},
			{Delete, 0, 0, true},
			{Add, time.Hour, time.Hour, false},
			{Delete, 0, 0, false},
		} {
			err := c.Commit([]Change{{Set: set, Op: step.op, Elems: []Element{{Addr: addr("8.8.8.8"), Left: step.left}}}})
			var refused *Refusal
			if (err != nil) != step.err || err != nil && (!errors.As(err, &refused) || refused.Set != set) {
				t.Errorf("%+v: %v", step, err)
			}
			elems, err := ReadElements(set)
			if err != nil || (len(elems) > 0) != (step.want > 0) || len(elems) > 0 && (elems[0].Left > step.want || elems[0].Left < step.want*2/3) {
				t.Errorf("%+v: %v, %v", step, elems, err)
			}
		}
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	}
}

// TestWatchMissed: when events were lost, the watch says so and subscribes again.
func TestWatchMissed(t *testing.T) {
	netlab.Need(t, "nft")
	c, err := Open(Options{Table: "watched", Force: ModePlain})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	notices := make(chan Notice, 4096)
	w, err := NewWatch(WatchOptions{Table: "watched", Mine: func(uint32) bool { return false }, Notices: notices,
		Followed: func(func(SetRef) bool) {}, Deleted: func(SetRef) {}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { w.Close(); <-w.Done() }()
	old := w.conn.Load()
	if err := old.SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	// The watch may be quick enough even with the smallest buffer; then once more.
	for missed, tries := false, 0; !missed; tries++ {
		if tries == 30 {
			t.Fatal("no event was lost in 30 storms")
		}
		b := newBatch(nil)
		for range 500 {
			b.newTable("watched", 0)
			b.delTable("watched")
		}
		b.newTable("watched", 0)
		if err := c.sock.transact(b); err != nil {
			t.Fatal(err)
		}
		select {
		case n := <-notices:
			missed = n.Missed
		case <-time.After(100 * time.Millisecond):
		}
	}
	if w.conn.Load() == old {
		t.Error("it did not subscribe again")
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	limit := time.After(30 * time.Second)
	for deleted := false; !deleted; { // what was lost before may be told of still
		select {
		case n := <-notices:
			deleted = slices.Equal(n.Table, []string{"table inet watched deleted"})
		case <-limit:
			t.Fatal("the new subscription sees nothing")
		}
	}
}
