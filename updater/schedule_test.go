package updater

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

// clock is a clock that a test sets.
func (b *box) clock(now time.Time) *time.Time {
	at := now
	b.options.Timers.now = func() time.Time { return at }
	return &at
}

func TestSchedule(t *testing.T) {
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
	m := b.remembered()
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
	if at := later.dueLocked(later.config.Sources[0], later.remembered()); at.Sub(*now) > 11*time.Hour {
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

// TestScheduleClock: a clock that jumps while the updater runs, or between two runs of
// it, neither stops a list from being fetched nor has it fetched without end.
func TestScheduleClock(t *testing.T) {
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

func TestBackoff(t *testing.T) {
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

// Run goes through a failure, comes back by itself, says each trouble once and takes up
// a new configuration.
func TestRun(t *testing.T) {
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
		for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: did not happen", what)
			}
		}
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
	case <-time.After(5 * time.Second):
		t.Fatal("Run does not end")
	}
	log := b.log.String()
	if n := strings.Count(log, "503 Service Unavailable"); n != 1 {
		t.Errorf("the same trouble is logged %d times", n)
	}
	if !strings.Contains(log, "list fetched again") || !strings.Contains(log, `rules=4 before=3`) {
		t.Errorf("log:\n%s", log)
	}
}

// A new configuration does not wait for a download that is under way.
func TestSetConfigDuringFetch(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "timeout: 5s")
	began, release := make(chan struct{}), make(chan struct{})
	s.answer(func(http.ResponseWriter, *http.Request) { close(began); <-release })
	done := make(chan Result)
	go func() {
		results, _ := b.Update(context.Background(), nil, Flags{})
		done <- results[0]
	}()
	<-began
	from := time.Now()
	b.SetConfig(configOf(t, s.URL+"/other"))
	if took := time.Since(from); took > 500*time.Millisecond {
		t.Errorf("SetConfig waited %v", took)
	}
	close(release)
	<-done
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	if q := s.requests(); q[0].URL.Path != "/other" {
		t.Errorf("asked for %s", q[0].URL)
	}
}

// Content that somebody deletes is fetched at once, not when it is due.
func TestDeleted(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	b.fetchDue(context.Background())
	if err := os.Remove(b.store.content("l")); err != nil {
		t.Fatal(err)
	}
	b.fetchDue(context.Background())
	b.holds(list(3, "example"))
	// Once, if the server has nothing.
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

// Two updaters on one state directory, as a daemon and one by hand, take turns.
func TestTwoUpdaters(t *testing.T) {
	s := newSite(t)
	a := newBox(t, s.URL)
	c := openBox(t, a.state, s.URL)
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		file(list(3, "example"))(w, r)
	})
	done := make(chan Result, 10)
	for _, b := range []*box{a, c, a, c} {
		go func() {
			results, _ := b.Update(context.Background(), nil, Flags{Force: true})
			done <- results[0]
		}()
	}
	for range 4 {
		if r := <-done; r.Err != nil {
			t.Error(r.Err)
		}
	}
	a.holds(list(3, "example"))
	a.clean()
}

func TestRollback(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	back := func(want string) {
		t.Helper()
		err := b.Rollback(context.Background(), "l")
		if got := fmt.Sprint(err); got != want {
			t.Fatalf("rollback: %s, want %s", got, want)
		}
	}
	back("list l: there is no version before this one")
	if err := b.Rollback(context.Background(), "x"); err == nil || err.Error() != `list "x": gateway.yaml has no list of this name with url` {
		t.Errorf("rollback of another: %v", err)
	}
	for n := 3; n <= 4; n++ {
		s.answer(file(list(n, "example")))
		b.update(Updated, "")
	}
	back("<nil>")
	b.holds(list(3, "example"))
	// The version that was taken out does not come back by itself, whether the server
	// tells that it is the same or sends it again.
	b.update(Unchanged, "")
	s.answer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, list(4, "example")) })
	b.update(Unchanged, "")
	b.holds(list(3, "example"))
	b.clean()
	// The next one does, and so does it by force.
	b.updateWith(Flags{Force: true}, Updated, "")
	b.holds(list(4, "example"))
	back("<nil>")
	s.answer(file(list(5, "example")))
	b.update(Updated, "")
	b.holds(list(5, "example"))
	if b.remembered().Rejected != "" {
		t.Error("the rejected version is still remembered")
	}
}

func TestShipped(t *testing.T) {
	s := newSite(t)
	state := t.TempDir()
	b := openBox(t, state, s.URL)
	b.holds("")
	if !strings.Contains(b.log.String(), "list has no content yet") {
		t.Errorf("nothing is said of a list without content:\n%s", b.log)
	}
	if st := ReadStatus(b.config, state); len(st.Lists) != 1 || !st.Lists[0].Missing {
		t.Errorf("status %+v", st)
	}
	shipped := filepath.Join(state, "shipped", "l")
	if err := os.MkdirAll(filepath.Dir(shipped), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shipped, []byte(list(9, "example")), 0o600); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, state, s.URL)
	b.holds(list(9, "example"))
	if st, ok := b.Status().List("l"); !ok || st.Missing || !st.Shipped || st.Rules != 9 {
		t.Errorf("status %+v", st)
	}
	// It is content like any other: what is fetched may not be much smaller.
	s.answer(file(list(2, "example")))
	b.update(Refused, "it has 2 rules where there were 9")
	b.holds(list(9, "example"))
	s.answer(file(list(8, "example")))
	b.update(Updated, "")
	b.holds(list(8, "example"))
	if b.remembered().Shipped {
		t.Error("it still counts as shipped")
	}
	// A start keeps what was fetched, and a bad shipped copy is not used.
	openBox(t, state, s.URL).holds(list(8, "example"))
	if err := os.WriteFile(shipped, []byte("<html>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.store.content("l")); err != nil {
		t.Fatal(err)
	}
	b = openBox(t, state, s.URL)
	b.holds("")
	b.clean()
	if !strings.Contains(b.log.String(), "shipped copy: it is a web page") {
		t.Errorf("log:\n%s", b.log)
	}
}

// While its route is down nothing is sent, by the WAN least of all.
func TestRouteDown(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	cfg, err := config.Parse("gateway.yaml", []byte("routes: {vpn: {interface: tun7, on_down: wan}}\nlists: {l: {url: "+s.URL+", via: vpn}}"))
	if err != nil {
		t.Fatal(err)
	}
	b.SetConfig(cfg)
	b.update(Failed, "list l: route vpn is down")
	if n := len(s.requests()); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
	if wait := time.Until(b.remembered().Next); wait > 66*time.Second {
		t.Errorf("tried again in %v", wait)
	}
}

func TestMetrics(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	b.update(Failed, "404")
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	values := map[string]float64{}
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if ls := m.GetLabel(); len(ls) > 0 && ls[0].GetValue() == "l" && m.GetGauge() != nil {
				values[f.GetName()] = m.GetGauge().GetValue()
			}
		}
	}
	if v, ok := values["coredns_lists_age_seconds"]; !ok || v < 0 || v > 60 {
		t.Errorf("age %v", values)
	}
	if values["coredns_lists_fetched_rules"] != 3 || values["coredns_lists_missing"] != 0 || values["coredns_lists_failures"] != 0 {
		t.Errorf("metrics %v", values)
	}
}

func TestUpdateUnknown(t *testing.T) {
	b := newBox(t, "http://192.0.2.1/")
	if _, err := b.Update(context.Background(), []string{"m"}, Flags{}); err == nil || err.Error() != `list "m": gateway.yaml has no list of this name with url` {
		t.Errorf("%v", err)
	}
}
