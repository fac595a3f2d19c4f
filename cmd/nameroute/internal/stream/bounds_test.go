package stream

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// fake is a connection as bounds see it.
type fake struct {
	addr    string
	working bool
	active  int64
	closed  chan struct{}
}

func (f *fake) busy() bool        { return f.working }
func (f *fake) lastActive() int64 { return f.active }

// At a bound the connection that was idle for longest ends, of the client, of its /64 or of
// all; where all are busy the new one does.
func TestBounds(t *testing.T) {
	evicted := make(chan string, 10)
	b := &Bounds{Total: 8, PerNet: 5, PerClient: 3}
	b.Evicted = func(a netip.Addr) {
		b.mu.Lock() // which a slow log must not hold
		defer b.mu.Unlock()
		evicted <- a.String()
	}
	enter := func(addr string, active int64, asked, busy bool) *fake {
		f := &fake{addr: addr, active: active, working: busy, closed: make(chan struct{})}
		a := &net.TCPAddr{IP: net.ParseIP(addr), Port: 1}
		p := b.enter(a, f, func() error { close(f.closed); return nil })
		if p == nil {
			return nil
		}
		p.asked.Store(asked)
		return f
	}
	is := func(what string, f *fake, others ...*fake) {
		t.Helper()
		select {
		case <-f.closed:
		case <-time.After(patience):
			t.Fatalf("%s: the idlest one is open", what)
		}
		for _, o := range others {
			select {
			case <-o.closed:
				t.Errorf("%s: another one is closed", what)
			default:
			}
		}
	}
	a1, a2, a3 := enter("192.0.2.1", 5, true, false), enter("192.0.2.1", 9, false, false), enter("192.0.2.1", 1, true, true)
	if len(evicted) != 0 {
		t.Fatal("evicted at the bound")
	}
	a4 := enter("192.0.2.1", 10, true, false)
	is("one on which nothing was asked", a2, a1, a3, a4)
	a5 := enter("192.0.2.1", 11, true, true)
	is("the least recent", a1, a3, a4, a5)
	a6 := enter("192.0.2.1", 11, true, true)
	is("the only one that is not busy", a4, a3, a5, a6)
	if enter("192.0.2.1", 12, true, false) != nil {
		t.Error("a connection of a client that has as many as it may, all busy")
	}
	b1 := enter("2001:db8::1", 1, true, false)
	for n := range 4 {
		enter(fmt.Sprintf("2001:db8::2:%d", n), 20, true, false)
	}
	b6 := enter("2001:db8::3", 21, true, false)
	is("of a /64", b1, b6)
	enter("192.0.2.9", 2, true, false)
	is("none", b1, a3, a5, a6, b6) // there are 3 + 5 + 1
	if len(b.places) != b.Total {
		t.Errorf("%d connections", len(b.places))
	}
	ofNet := 0
	for range 5 {
		select {
		case a := <-evicted:
			if strings.HasPrefix(a, "2001:db8:") {
				ofNet++
			}
		case <-time.After(patience):
			t.Fatal("not all that were evicted are reported")
		}
	}
	if ofNet == 0 || len(evicted) != 0 {
		t.Errorf("%d of the /64 and %d too many are reported", ofNet, len(evicted))
	}
}

// The listener of a server that reads its connections itself keeps the bounds, too.
func TestLimit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &Bounds{Total: 9, PerNet: 9, PerClient: 2}
	limited := b.Limit(l)
	defer limited.Close()
	go func() {
		for {
			c, err := limited.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	var all []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		all = append(all, c)
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if !ended(all[0]) {
		t.Error("the idlest connection stays")
	}
}
