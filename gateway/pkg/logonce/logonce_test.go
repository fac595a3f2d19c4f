package logonce

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestEdge(t *testing.T) {
	var e Edge
	for i, c := range []struct {
		subject, state string
		changed, ended bool
	}{
		{"disk", "", false, false},
		{"disk", "full", true, false},
		{"disk", "full", false, false},
		{"net", "full", true, false},
		{"disk", "read only", true, false},
		{"disk", "", false, true},
		{"disk", "", false, false},
		{"net", "full", false, false},
		{"disk", "full", true, false},
	} {
		if changed, ended := e.Set(c.subject, c.state); changed != c.changed || ended != c.ended {
			t.Errorf("%d: %s is %q: changed %v, ended %v", i, c.subject, c.state, changed, ended)
		}
	}
}

func TestEdgeOfErrors(t *testing.T) {
	var e Edge
	for i, c := range []struct {
		err                  error
		changed, began, ends bool
	}{
		{errors.New("open /state/.names1: no space"), true, true, false},
		{errors.New("open /state/.names2: no space"), true, false, false},
		{nil, false, false, true},
		{errors.New("open /state/.names2: no space"), true, true, false},
	} {
		if changed, ended := e.Error("text", c.err); changed != c.changed || ended != c.ends {
			t.Errorf("%d: Error: changed %v, ended %v", i, changed, ended)
		}
		if began, ended := e.Failing("any", c.err); began != c.began || ended != c.ends {
			t.Errorf("%d: Failing: began %v, ended %v", i, began, ended)
		}
	}
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := Every{Interval: time.Minute}
		for _, c := range []struct {
			after      time.Duration
			ok         bool
			suppressed int
		}{
			{0, true, 0}, {time.Second, false, 0}, {58 * time.Second, false, 0}, {time.Second, true, 2}, {time.Hour, true, 0},
		} {
			time.Sleep(c.after)
			if ok, n := e.Allow("a"); ok != c.ok || n != c.suppressed {
				t.Errorf("after %v: %v, %d suppressed", c.after, ok, n)
			}
		}
		if ok, _ := e.Allow("b"); !ok {
			t.Error("another event is suppressed")
		}
	})
}

func TestEveryQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := Every{Interval: 10 * time.Minute, Quiet: true}
		for _, c := range []struct {
			after time.Duration
			ok    bool
		}{
			{0, true}, {9 * time.Minute, false}, {9 * time.Minute, false}, {10 * time.Minute, true},
		} {
			time.Sleep(c.after)
			if ok, _ := e.Allow("a"); ok != c.ok {
				t.Errorf("after %v: %v", c.after, ok)
			}
		}
	})
}

func TestEveryIsBounded(t *testing.T) {
	e := Every{Interval: time.Hour}
	for i := range 10 * maxKeys {
		e.Allow(strconv.Itoa(i))
	}
	if n := len(e.seen); n > maxKeys {
		t.Errorf("%d events are remembered, want at most %d", n, maxKeys)
	}
}
