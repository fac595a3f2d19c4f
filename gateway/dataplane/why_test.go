package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func never(netip.Addr) bool  { return false }
func always(netip.Addr) bool { return true }

func listed(names ...string) func(string) bool {
	return func(n string) bool { return slices.Contains(names, n) }
}

func TestWhy(t *testing.T) {
	one, two := parseAddrs([]string{"8.8.8.8"}), parseAddrs([]string{"8.8.8.8", "2606:4700::1"})
	gone := func(w *why, names ...string) (doubted []netip.Addr) {
		got := w.unjustified(100, listed(names...), func(a netip.Addr) { doubted = append(doubted, a) })
		if !slices.Equal(got, doubted) {
			t.Errorf("gone %v, doubted %v", got, doubted)
		}
		slices.SortFunc(got, netip.Addr.Compare)
		return got
	}
	for _, c := range []struct {
		name   string
		notes  func(w *why)
		listed []string
		want   []netip.Addr
	}{
		{"listed", func(w *why) { w.note("A.example.", two, time.Hour, never) }, []string{"a.example."}, nil},
		{"not listed", func(w *why) { w.note("A.example.", two, time.Hour, never) }, nil, two},
		{"one of two names", func(w *why) {
			w.note("a.example.", two, time.Hour, never)
			w.note("b.example.", one, time.Hour, always)
		}, []string{"b.example."}, two[1:]},
		{"older than the accounting", func(w *why) { w.note("a.example.", two, time.Hour, always) }, nil, nil},
		{"an answer without a question", func(w *why) {
			w.note("a.example.", one, time.Hour, never)
			w.note("", one, time.Hour, always)
		}, nil, nil},
		{"more names than are kept", func(w *why) {
			for i := range maxReasons + 1 {
				w.note(fmt.Sprintf("n%d.example.", i), one, time.Hour, always)
			}
		}, nil, nil},
		{"as many names as are kept", func(w *why) {
			for i := range maxReasons {
				w.note(fmt.Sprintf("n%d.example.", i), one, time.Hour, func(netip.Addr) bool { return i > 0 })
			}
		}, nil, one},
		{"the listed name has lapsed", func(w *why) {
			w.note("a.example.", one, time.Hour, never)
			w.note("b.example.", one, 1, always)
		}, []string{"b.example."}, one},
		{"lapsed", func(w *why) { w.note("a.example.", one, 1, never) }, nil, nil},
		{"lapsed and learned again", func(w *why) {
			w.note("a.example.", one, 1, always)
			time.Sleep(time.Microsecond)
			w.note("b.example.", one, time.Hour, never)
		}, []string{"a.example."}, one},
		{"no room", func(w *why) {
			w.size = 1
			w.note("a.example.", two, time.Hour, never)
		}, nil, one},
		{"no room at first", func(w *why) {
			w.size = 0
			w.note("a.example.", one, time.Hour, never)
			w.size = 10
			w.note("b.example.", one, time.Hour, always)
		}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWhy()
			c.notes(w)
			time.Sleep(time.Microsecond)
			if got := gone(w, c.listed...); !slices.Equal(got, c.want) {
				t.Errorf("gone %v, want %v", got, c.want)
			}
			if got := gone(w, c.listed...); len(got) > 0 {
				t.Errorf("gone twice: %v", got)
			}
		})
	}
}

func TestWhyHas(t *testing.T) {
	w := newWhy()
	as := parseAddrs([]string{"8.8.8.8", "8.8.4.4"})
	w.note("www.Example.org.", as, time.Hour, never)
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
		need  time.Duration
		want  bool
	}{
		{"www.example.org.", as, 59 * time.Minute, true},
		{"WWW.EXAMPLE.ORG.", as[1:], time.Minute, true},
		{"www.example.org.", as, 61 * time.Minute, false},
		{"www.example.com.", as, time.Minute, false},
		{"www.example.org.", append(as[:2:2], addr("1.1.1.1")), time.Minute, false},
	} {
		if got := w.has(w.id(c.name), c.addrs, c.need); got != c.want {
			t.Errorf("%s %v for %v: %v", c.name, c.addrs, c.need, got)
		}
	}
	if got := w.names(as[0]); !slices.Equal(got, []string{"www.example.org."}) {
		t.Errorf("names %v", got)
	}
	name := "www.example.org."
	if n := testing.AllocsPerRun(100, func() { w.has(w.id(name), as, time.Minute) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
