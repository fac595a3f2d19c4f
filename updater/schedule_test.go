package updater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestListIsFetchedWhenDue(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "every: 10h")
	now := b.clock(time.Now())
	s.answer(file(list(3, "example")))
	asked := func(want int) {
		t.Helper()
		b.fetchDue(context.Background())
		if n := len(s.requests()); n != want {
			t.Fatalf("%d requests, want %d", n, want)
		}
	}
	asked(1) // a list without content is due at once
	asked(1)
	m := b.meta()
	if wait := m.Next.Sub(*now); wait < 10*time.Hour || wait > 11*time.Hour {
		t.Errorf("next in %v, want 10 to 11 hours", wait)
	}
	*now = m.Next.Add(-time.Second)
	asked(1)
	*now = m.Next
	asked(2)

	// A restart fetches nothing that is fresh.
	again := openBox(t, b.state, s.URL, "every: 10h")
	again.options.Timers.now = b.options.Timers.now
	again.fetchDue(context.Background())
	if n := len(s.requests()); n != 2 {
		t.Errorf("after a restart: %d requests", n)
	}
	// The clock was years ahead when it was fetched.
	*now = now.Add(-5 * 365 * 24 * time.Hour)
	later := openBox(t, b.state, s.URL, "every: 10h")
	later.options.Timers.now = b.options.Timers.now
	if at := later.dueLocked(later.config.Sources[0], later.meta()); at.Sub(*now) > 11*time.Hour {
		t.Errorf("due in %v after the clock was set back", at.Sub(*now))
	}
	// Another URL is fetched at once.
	moved := openBox(t, b.state, s.URL+"/elsewhere", "every: 10h")
	moved.options.Timers.now = b.options.Timers.now
	moved.fetchDue(context.Background())
	moved.fetchDue(context.Background())
	if n := len(s.requests()); n != 3 {
		t.Errorf("another URL: %d requests, want 3", n)
	}
}

// TestClockJumps: a clock that jumps while the updater runs, or between two runs of
// it, neither stops a list from being fetched nor has it fetched without end.
func TestClockJumps(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, jump := range []time.Duration{-5 * 365 * 24 * time.Hour, -20 * time.Hour, 3 * time.Hour, 5 * 365 * 24 * time.Hour} {
			s := newSite(t)
			b := newBox(t, s.URL, "every: 10h")
			now := b.clock(time.Now())
			s.answer(file(list(3, "example")))
			b.fetchDue(context.Background())
			*now = now.Add(jump)
			if restart {
				timers := b.options.Timers
				b = openBox(t, b.state, s.URL, "every: 10h")
				b.options.Timers.now = timers.now
			}
			for range 23 * 6 { // 23 hours: twice, or three times where it was due at once
				b.fetchDue(context.Background())
				*now = now.Add(10 * time.Minute)
			}
			if n := len(s.requests()) - 1; n < 2 || n > 3 {
				t.Errorf("the clock jumped by %v, restarted %v: fetched %d times in 23 hours", jump, restart, n)
			}
		}
	}
}

func TestRetryPauses(t *testing.T) {
	var timers Timers
	timers.fill()
	s := gateway.Source{Every: 3 * time.Hour}
	for before, want := range []time.Duration{
		time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, 64 * time.Minute,
		128 * time.Minute, 3 * time.Hour, 3 * time.Hour,
	} {
		if got := timers.backoff(s, before, io.EOF); got != want {
			t.Errorf("after %d failures: %v, want %v", before, got, want)
		}
	}
	if got := timers.backoff(s, 1e6, io.EOF); got != 3*time.Hour {
		t.Errorf("after very many failures: %v", got)
	}
	if got := timers.backoff(s, 9, fmt.Errorf("route vpn %w", errRouteDown)); got != time.Minute {
		t.Errorf("while the route is down: %v", got)
	}
	busy := &statusError{retryAfter: time.Hour}
	if got := timers.backoff(s, 0, fmt.Errorf("x: %w", busy)); got != time.Hour {
		t.Errorf("Retry-After of an hour: %v", got)
	}
	busy.retryAfter = 1000 * time.Hour
	if got := timers.backoff(s, 0, busy); got != 3*time.Hour {
		t.Errorf("Retry-After of weeks: %v", got)
	}
	if got := parseRetryAfter("120"); got != 2*time.Minute {
		t.Errorf("Retry-After 120: %v", got)
	}
	if got := parseRetryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); got < 59*time.Minute || got > time.Hour {
		t.Errorf("Retry-After in an hour: %v", got)
	}
	if got := parseRetryAfter("-5"); got != 0 {
		t.Errorf("Retry-After -5: %v", got)
	}
}

// Run keeps trying: at growing intervals after failures, every minute while the route is
// down, and when due after success. Days pass in an instant.
func TestRunRetriesOnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := openBox(t, t.TempDir(), "http://192.0.2.1/", "every: 3h")
		began := time.Now()
		var mu sync.Mutex
		var tries []time.Duration
		failure := errors.New("unreachable")
		b.dialers = func(*gateway.Config, gateway.Source) (dialer, error) {
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, time.Since(began))
			return dialer{}, failure
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- b.Run(ctx) }()
		<-b.Ready()

		// 1, 2, 4, ... minutes, at most 3 hours, each up to a tenth longer.
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		want := []time.Duration{0, 1, 2, 4, 8, 16, 32, 64, 128, 180, 180, 180}
		for i, minutes := range want {
			if i >= len(tries) {
				t.Fatalf("only %d tries in a day: %v", len(tries), tries)
			}
			pause := tries[i]
			if i > 0 {
				pause -= tries[i-1]
			}
			if least := minutes * time.Minute; pause < least || pause > least+least/10+time.Minute {
				t.Errorf("try %d came %v after the one before, want %v", i, pause, least)
			}
		}

		mu.Lock()
		failure, tries = errRouteDown, nil
		mu.Unlock()
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if n := len(tries); n < 3 || tries[n-1]-tries[n-2] > 67*time.Second {
			t.Errorf("while the route is down: tries at %v, want one a minute", tries)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(b.log.String(), "unreachable"); n != 1 {
			t.Errorf("the same failure is logged %d times", n)
		}
	})
}

// Run recovers from failures by itself, logs each once, and uses a new configuration.
func TestRunRecovers(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	b.options.Timers = Timers{Every: 40 * time.Millisecond, RetryMin: 10 * time.Millisecond}
	b.options.Timers.fill()
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	<-b.Ready()
	await := func(what string, ok func() bool) {
		t.Helper()
		netlab.Eventually(t, 5*time.Second, func() error { return netlab.Check(ok(), "no %s", what) })
	}
	await("three tries", func() bool { return len(s.requests()) >= 3 })
	s.answer(file(list(3, "example")))
	await("content", func() bool { _, err := os.Stat(b.store.content("l")); return err == nil })
	s.answer(file(list(4, "example")))
	await("an update", func() bool { m, _ := readMeta(b.store.meta("l")); return m.Rules == 4 })
	b.SetConfig(configOf(t, s.URL+"/other"))
	await("another URL", func() bool {
		q := s.requests()
		return len(q) > 0 && q[len(q)-1].URL.Path == "/other"
	})
	cancel()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("Run does not end")
	}
	log := b.log.String()
	if n := strings.Count(log, "503 Service Unavailable"); n != 1 {
		t.Errorf("the same trouble is logged %d times", n)
	}
	if !strings.Contains(log, "list fetched again") || !strings.Contains(log, `entries=4 before=3`) {
		t.Errorf("log:\n%s", log)
	}
}

// Deleted content is fetched at once, not when it is due.
func TestDeletedContentIsFetchedAtOnce(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	b.fetchDue(context.Background())
	if err := os.Remove(b.store.content("l")); err != nil {
		t.Fatal(err)
	}
	b.fetchDue(context.Background())
	b.holds(list(3, "example"))
	// Once only, if the server has nothing.
	s.answer(http.NotFound)
	if err := os.Remove(b.store.content("l")); err != nil {
		t.Fatal(err)
	}
	b.fetchDue(context.Background())
	b.fetchDue(context.Background())
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}
