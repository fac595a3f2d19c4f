package aliases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway/pkg/wallclock"
	"github.com/nameroute/nameroute/test/netlab"
)

// clock is a clock that a test turns.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Unix(1_800_000_000, 0)} }

func add(t *testing.T, s *Store, name string, lists []string, need, want time.Duration) {
	t.Helper()
	if err := s.Add(name, "www.listed.example.", lists, need, want); err != nil {
		t.Fatal(err)
	}
}

func TestAliases(t *testing.T) {
	c := newClock()
	n := newStore(c.now)
	add(t, n, "cdn.example.net.", []string{"gfwlist"}, time.Minute, time.Hour)
	for _, tc := range []struct {
		name  string
		lists []string
		want  bool
	}{
		{"cdn.example.net.", []string{"gfwlist"}, true},
		{"cdn.example.net.", []string{"mine", "gfwlist"}, true},
		{"cdn.example.net.", []string{"mine"}, false},
		{"www.cdn.example.net.", []string{"gfwlist"}, false}, // that exact name only
		{"example.net.", []string{"gfwlist"}, false},
	} {
		if got := n.Has(tc.name, tc.lists); got != tc.want {
			t.Errorf("Has(%s, %v) = %v", tc.name, tc.lists, got)
		}
	}
	add(t, n, "cdn.example.net.", []string{"mine"}, time.Minute, time.Hour)
	if !n.Has("cdn.example.net.", []string{"gfwlist"}) || !n.Has("cdn.example.net.", []string{"mine"}) {
		t.Error("a second list took the first one's place")
	}
	c.t = c.t.Add(time.Hour)
	if n.Has("cdn.example.net.", []string{"gfwlist"}) {
		t.Error("remembered for longer than it should be")
	}
}

func TestAliasesAreProlonged(t *testing.T) {
	c := newClock()
	n := newStore(c.now)
	lists := []string{"mine"}
	add(t, n, "a.example.", lists, 11*time.Minute, time.Hour)
	c.t = c.t.Add(49*time.Minute + time.Second) // less than the need is left
	add(t, n, "a.example.", lists, 11*time.Minute, time.Hour)
	c.t = c.t.Add(59 * time.Minute)
	if !n.Has("a.example.", lists) {
		t.Error("an answer that was served did not prolong the name")
	}
	add(t, n, "b.example.", lists, time.Hour, 2*time.Hour)
	add(t, n, "b.example.", lists, time.Second, time.Second)
	c.t = c.t.Add(90 * time.Minute)
	if !n.Has("b.example.", lists) {
		t.Error("an answer shortened what is remembered")
	}
}

// What does not fit is refused, and what is there stays. At the bound, below and
// above it.
func TestAliasesAreBounded(t *testing.T) {
	c := newClock()
	n := newStore(c.now)
	n.size, n.share = 100, 40
	lists := []string{"mine"}
	try := func(alias, from string) error { return n.Add(alias, from, lists, time.Minute, time.Hour) }
	add(t, n, "first.cdn.example.", lists, time.Minute, time.Hour)
	for i := range 60 { // who owns the domain makes a name for each
		from := fmt.Sprintf([]string{`n%d.flood.co.uk.`, `n%d\..flood.co.uk.`, `n%d\\.flood.co.uk.`, `n%d.x.flood.co.uk.`}[i%4], i)
		if err := try(fmt.Sprintf("t%d.", i), from); (err == nil) != (i < 40) || err != nil && !errors.Is(err, ErrShare) {
			t.Errorf("alias %d, of %s: %v", i, from, err)
		}
	}
	if err := try("deep.", "t3."); !errors.Is(err, ErrShare) {
		t.Errorf("an alias of an alias counts for the same domain: %v", err)
	}
	if err := try("t5.", "n5.flood.co.uk."); err != nil {
		t.Errorf("what is there is prolonged: %v", err)
	}
	for i := n.Len(); i < 100; i++ {
		if err := try(fmt.Sprintf("o%d.", i), fmt.Sprintf("www.other%d.co.uk.", i)); err != nil {
			t.Errorf("alias %d of others: %v", i, err)
		}
	}
	if err := try("last.", "www.last.example."); !errors.Is(err, ErrFull) || n.Has("last.", lists) {
		t.Errorf("beyond all: %v", err)
	}
	if !n.Has("first.cdn.example.", lists) || n.Len() != 100 {
		t.Errorf("%d are kept, the first one: %v", n.Len(), n.Has("first.cdn.example.", lists))
	}
	c.t = c.t.Add(time.Hour + sweepPause)
	if err := try("last.", "www.last.example."); err != nil || n.Len() != 1 || len(n.shares) != 1 {
		t.Errorf("lapsed ones make room: %v, %d are kept", err, n.Len())
	}
}

// A prolonged alias is one at every moment.
func TestAliasIsNeverGone(t *testing.T) {
	n := New()
	lists := []string{"mine"}
	add(t, n, "a.example.", lists, time.Minute, time.Hour)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20000 {
			if err := n.Add("a.example.", "x.example.", lists, time.Hour+time.Duration(i), time.Hour+time.Duration(2*i)); err != nil {
				t.Error(err)
			}
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			if !n.Has("a.example.", lists) {
				t.Fatal("it was none for a moment")
			}
		}
	}
}

func TestHasDoesNotAllocate(t *testing.T) {
	n := newStore(time.Now)
	lists := []string{"mine"}
	add(t, n, "a.example.", lists, time.Minute, time.Hour)
	if a := testing.AllocsPerRun(100, func() { n.Has("a.example.", lists); n.Has("b.example.", lists) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func TestJournal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state", "names")
	c := newClock()
	first := newStore(c.now)
	ctx, cancel := context.WithCancel(context.Background())
	done := first.Persist(ctx, file, slog.Default())
	add(t, first, "cdn.example.net.", []string{"gfwlist", "mine"}, time.Minute, time.Hour)
	add(t, first, "gone.example.net.", []string{"mine"}, time.Minute, time.Minute)
	// A process that is killed has written it by itself.
	netlab.Eventually(t, 5*time.Second, func() error {
		b, err := os.ReadFile(file)
		return netlab.Check(err == nil && strings.Count(string(b), "\n") == 2, "not written: %q %v", b, err)
	})
	cancel()
	<-done

	c.t = c.t.Add(2 * time.Minute)
	second := newStore(c.now)
	if bad, err := second.load(file); bad != 0 || err != nil {
		t.Fatal(bad, err)
	}
	if !second.Has("cdn.example.net.", []string{"mine"}) || second.Len() != 1 {
		t.Errorf("a restart left %d names", second.Len())
	}
}

func TestJournalThatCannotBeRead(t *testing.T) {
	n := newStore(newClock().now)
	bad, err := n.read(strings.NewReader("1800000100 a.example. mine a.example.\nhello\n1800000100 nodot mine x.\nx b.example. mine x.\n99999999999 never.example. mine x.\n1800000100 c.example. mine nodot\n"), wallclock.Earliest)
	if err != nil || bad != 4 || n.Len() != 1 {
		t.Errorf("bad %d, %d names, %v", bad, n.Len(), err)
	}
	if bad, err := n.read(strings.NewReader(strings.Repeat("x", 1<<20)), wallclock.Earliest); bad != 1 || err != nil {
		t.Errorf("a line without end: bad %d, %v", bad, err)
	}
}

// TestJournalClock: a clock that is not set yet, or was not, prolongs.
func TestJournalClock(t *testing.T) {
	at := newClock().t
	for _, c := range []struct {
		name         string
		written, now time.Time
		left         time.Duration
	}{
		{"ten minutes later", at, at.Add(10 * time.Minute), 50 * time.Minute},
		{"an hour later", at, at.Add(time.Hour), 0},
		{"not set yet", at, time.Unix(5, 0), time.Hour},
		{"not set when written", time.Unix(5, 0), at, time.Hour},
	} {
		clock := &clock{c.now}
		n := newStore(clock.now)
		line := string(alias{"a.example.", entry{c.written.Add(time.Hour), []string{"mine"}, "a.example."}}.append(nil))
		if bad, err := n.read(strings.NewReader(line), c.written); bad != 0 || err != nil {
			t.Fatal(bad, err)
		}
		clock.t = c.now.Add(c.left - time.Second)
		if got := n.Lists("a.example."); (got != nil) != (c.left > 0) {
			t.Errorf("%s: forgotten early or late: %v", c.name, got)
		}
		clock.t = c.now.Add(c.left)
		if got := n.Lists("a.example."); got != nil {
			t.Errorf("%s: remembered for longer than %v", c.name, c.left)
		}
	}
}

// TestJournalCut: a crash in the middle of a line costs that line, and is no news.
func TestJournalCut(t *testing.T) {
	n := newStore(newClock().now)
	bad, err := n.read(strings.NewReader("1800000100 a.example. mine a.example.\n1800000100 b.example. mine b.ex"), wallclock.Earliest)
	if bad != 0 || err != nil || n.Lists("a.example.") == nil || n.Lists("b.example.") != nil {
		t.Errorf("bad %d, %v; %d names", bad, err, n.Len())
	}
}

// TestForeignJournal: what is not ours is set aside, and the rest of it is used.
func TestForeignJournal(t *testing.T) {
	for what, make := range map[string]func(file string) error{
		"lines": func(file string) error {
			return os.WriteFile(file, []byte("nameroute names 7\n1800000100 a.example. mine a.example.\n"), 0o600)
		},
		"directory": func(file string) error { return os.Mkdir(file, 0o700) },
		"pipe":      func(file string) error { return unix.Mkfifo(file, 0o600) },
	} {
		file := filepath.Join(t.TempDir(), "names")
		if err := make(file); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := newStore(newClock().now)
		done := n.Persist(ctx, file, slog.Default())
		add(t, n, "b.example.", []string{"mine"}, time.Minute, time.Hour)
		cancel()
		<-done
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), " b.example. mine listed.example.\n") || (n.Len() == 2) != (what == "lines") {
			t.Errorf("%s: %d names, stored %q, %v", what, n.Len(), data, err)
		}
		if _, err := os.Stat(file + ".bad"); err != nil {
			t.Errorf("%s: set aside: %v", what, err)
		}
	}
}

func TestJournalThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := newStore(newClock().now)
	file := filepath.Join(dir, "state", "names")
	done := n.Persist(ctx, file, slog.Default())
	add(t, n, "a.example.", []string{"mine"}, time.Minute, time.Hour)
	if !n.Has("a.example.", []string{"mine"}) {
		t.Error("without a journal names must still be remembered")
	}
	if err := os.Remove(filepath.Join(dir, "state")); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if data, err := os.ReadFile(file); err != nil || !strings.Contains(string(data), " a.example. mine listed.example.\n") {
		t.Errorf("when it could be written: %q, %v", data, err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add("1800000100 a.example. mine,gfwlist example.\n")
	f.Add("1800000100 a.example. , example.\n\x00\n")
	f.Fuzz(func(t *testing.T, text string) {
		n := newStore(newClock().now)
		if _, err := n.read(strings.NewReader(text), wallclock.Earliest); err != nil {
			t.Fatal(err)
		}
		n.names.Range(func(name string, e entry) bool {
			again, err := parseAlias(strings.TrimSuffix(string(alias{name, e}.append(nil)), "\n"))
			if err != nil || again.name != name {
				t.Fatalf("%q does not read back: %v", name, err)
			}
			return true
		})
	})
}

// TestJournalWhenTheClockIsSet: names that were stored before the clock was set are
// stored again, so that a crash after it does not lose them.
func TestJournalWhenTheClockIsSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	c := newClock()
	s := newStore(c.now)
	j := &journal{store: s, file: file, log: slog.Default(), clock: &wallclock.Watch{Wall: c.now, Mono: func() time.Duration { return 0 }}}
	add(t, s, "a.example.", []string{"mine"}, time.Minute, time.Hour)
	j.clock.Stepped()
	c.t = c.t.Add(10 * 365 * 24 * time.Hour)
	add(t, s, "b.example.", []string{"mine"}, time.Minute, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); j.run(ctx) }()
	netlab.Eventually(t, 5*time.Second, func() error {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), " b.example. mine listed.example.\n") {
			return fmt.Errorf("stored %q, %w", data, err)
		}
		return nil
	})
	cancel()
	<-done
}

// What is written to the journal is bounded: below the bound every alias is there at once, at
// it, too, and above it with the next rewrite. The file does not grow without end.
func TestJournalIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "names")
		s := newStore(time.Now)
		s.share = s.size
		ctx, cancel := context.WithCancel(t.Context())
		done := s.Persist(ctx, file, slog.New(slog.DiscardHandler))
		stored := func(i int) bool {
			data, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(data), fmt.Sprintf(" n%06d.cdn.example. ", i))
		}
		size := func() int64 {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		next := 0
		synctest.Wait()
		time.Sleep(journalFlush / 20) // nothing is added in the moment of a flush, before or after it
		grow := func(perSecond int, d time.Duration) {
			for range d / (10 * time.Millisecond) {
				for range perSecond / 100 {
					add(t, s, fmt.Sprintf("n%06d.cdn.example.", next), []string{"mine"}, time.Hour, 24*time.Hour)
					next++
				}
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(time.Second)
		}
		grow(1000, 10*time.Second) // some 55 bytes each
		line := size() / int64(next)
		if want := int64(next) * line; !stored(0) || !stored(next-1) || size() < want {
			t.Errorf("below the bound: %d of %d bytes are written", size(), want)
		}
		before, from := size(), next
		grow(5000, 10*time.Second)
		appended := size() - before
		if most := int64(journalBurst + 11*journalRate); appended > most || appended < journalBurst/2 {
			t.Errorf("above the bound: %d bytes were appended in 10 s, want at most %d", appended, most)
		}
		if !stored(from) || stored(next-1) {
			t.Errorf("above the bound: the first one is stored: %t, want true; the last: %t, want false", stored(from), stored(next-1))
		}
		time.Sleep(durationOf(size()) + journalCompact + time.Second)
		if !stored(0) || !stored(from) || !stored(next-1) || size() > int64(next+1)*(line+1) {
			t.Errorf("after the next rewrite, which is bounded, too: %d bytes for %d aliases", size(), next)
		}
		// The same aliases again and again.
		before = size()
		for range 200 {
			for i := range 1000 {
				s.put(fmt.Sprintf("n%06d.cdn.example.", i), entry{until: time.Now().Add(time.Hour), lists: []string{"mine"}, domain: "x."})
			}
			time.Sleep(10 * time.Second)
		}
		if most := 2*before + 2*journalBurst; size() > most {
			t.Errorf("%d bytes for %d aliases that were prolonged again and again, want at most %d", size(), next, most)
		}
		cancel()
		<-done
	})
}
