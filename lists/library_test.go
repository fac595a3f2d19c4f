package lists

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
	"github.com/nameroute/nameroute/test/netlab"
)

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func lists(dir string, names ...string) (cfg []gateway.List) {
	for _, n := range names {
		cfg = append(cfg, gateway.List{Name: n, File: filepath.Join(dir, n+".txt")})
	}
	return cfg
}

func wantErrors(t *testing.T, errs []error, want ...string) {
	t.Helper()
	got := make([]string, len(errs))
	for i, err := range errs {
		got[i] = err.Error()
	}
	if !slices.Equal(got, want) {
		t.Fatalf("errors:\n got %q\nwant %q", got, want)
	}
}

func wantHeld(t *testing.T, l *Library, name, want string) {
	t.Helper()
	if got := which(l.Index(), name); got != want {
		t.Fatalf("%s: held by %q, want %q", name, got, want)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.txt"), "a.test\n192.0.2.0/24\nbad line\n")
	write(t, filepath.Join(dir, "b.txt"), "# nothing yet\n")
	write(t, filepath.Join(dir, "c.txt"), "<html>\n")
	cfg := lists(dir, "a", "b", "c", "d")
	cfg = append(cfg, gateway.List{Name: "e", File: cfg[0].File, Format: "nonsense"}, gateway.List{Name: "f", File: dir})
	l, errs := Open(cfg, Options{})
	empty := "; it stays empty until its file is valid"
	wantErrors(t, errs,
		"list c: "+cfg[2].File+": it is a web page, not a list"+empty,
		"list d: open "+cfg[3].File+": no such file or directory"+empty,
		`list e: unknown format "nonsense": want one of `+strings.Join(format.Names(), ", ")+empty,
		"list f: read "+dir+": not a regular file: it is a directory: name a category of it after a colon, "+dir+":NAME"+empty)
	wantHeld(t, l, "x.a.test", "a")
	if p := fmt.Sprint(l.Prefixes("a")); p != "[192.0.2.0/24]" {
		t.Errorf("prefixes of a: %s", p)
	}
	if p := l.Prefixes("unknown"); p != nil {
		t.Errorf("prefixes of an unknown list: %v", p)
	}
	r := l.Reports()
	if len(r) != 6 || r[0].Suffix != 1 || r[0].Prefixes != 1 || r[0].Skipped != 1 || r[0].Lines != 3 ||
		r[0].Format != "plain" || r[0].Err != nil || time.Since(r[0].LoadedAt) > time.Minute {
		t.Errorf("report of a: %+v", r[0])
	}
	if r[1].Err != nil || r[1].Lines != 0 {
		t.Errorf("report of b: %+v", r[1])
	}
	if r[2].Err == nil || r[2].Name != "c" {
		t.Errorf("report of c: %+v", r[2])
	}
	for i, c := range cfg {
		if _, err := Check(c); (err != nil) != (i >= 2) {
			t.Errorf("Check(%s): %v", c.Name, err)
		}
	}
}

func TestReload(t *testing.T) {
	dir, copies := t.TempDir(), filepath.Join(t.TempDir(), "last", "good")
	cfg := lists(dir, "a", "b")
	write(t, cfg[0].File, "one.test\n")
	write(t, cfg[1].File, "b.test\nkeyword:bee\nregexp:^r[0-9]\nfull:out.test\n")
	l, errs := Open(cfg, Options{LastGood: copies})
	wantErrors(t, errs)
	s, err := l.Index().Selection("b")
	if err != nil {
		t.Fatal(err)
	}
	reload := func(want bool, errors ...string) {
		t.Helper()
		changed, errs := l.Reload()
		wantErrors(t, errs, errors...)
		if changed != want {
			t.Fatalf("changed %v, want %v", changed, want)
		}
		// b is copied each time that a changes.
		wantHeld(t, l, "x.b.test", "b")
		wantHeld(t, l, "a-bee.test", "b")
		wantHeld(t, l, "r7.test", "b")
		if !l.Index().Match("out.test").Listed(s) {
			t.Fatal("a selection of the first index is not valid for a later one")
		}
	}
	reload(false)
	write(t, cfg[0].File, "two.test\n") // same size, within the clock's grain
	reload(true)
	wantHeld(t, l, "one.test", "")
	wantHeld(t, l, "two.test", "a")
	reload(false)

	now := time.Now()
	if err := os.Chtimes(cfg[0].File, now, now); err != nil {
		t.Fatal(err)
	}
	reload(false) // touched only

	stays := "; its last good content stays in use"
	bad := "list a: " + cfg[0].File + `: no entry in 1 lines, read as plain; line 1: "!!": ` + entry.ReasonChar + stays
	write(t, cfg[0].File, "!!\n")
	reload(false, bad)
	reload(false, bad)
	wantHeld(t, l, "two.test", "a")
	if r := l.Reports()[0]; !r.LastGood || r.Err == nil || r.Suffix != 1 {
		t.Fatalf("report of a bad file: %+v", r)
	}
	os.Remove(cfg[0].File)
	reload(false, "list a: open "+cfg[0].File+": no such file or directory"+stays)
	wantHeld(t, l, "two.test", "a")
	write(t, cfg[0].File, "two.test\n")
	reload(false) // good again, and the same
	if r := l.Reports()[0]; r.LastGood || r.Err != nil {
		t.Fatalf("report of a file that is good again: %+v", r)
	}
	write(t, cfg[0].File, "# emptied on purpose\n")
	reload(true)
	wantHeld(t, l, "two.test", "")
}

func TestLastGood(t *testing.T) {
	dir, copies := t.TempDir(), t.TempDir()
	cfg := lists(dir, "a", "b")
	write(t, cfg[0].File, "# hosts\n0.0.0.0 a.test\n198.51.100.1 b.test\n")
	write(t, cfg[1].File, "b.test\n")
	_, errs := Open(cfg, Options{LastGood: copies})
	wantErrors(t, errs)
	kept, err := os.ReadFile(filepath.Join(copies, "a.list"))
	if err != nil || string(kept) != "# hosts\n0.0.0.0 a.test\n198.51.100.1 b.test\n" {
		t.Fatalf("copy of a: %q, %v", kept, err)
	}
	before, _ := os.Stat(filepath.Join(copies, "a.list"))

	// A restart with an unchanged file does not write.
	_, errs = Open(cfg, Options{LastGood: copies})
	wantErrors(t, errs)
	if after, _ := os.Stat(filepath.Join(copies, "a.list")); !os.SameFile(before, after) {
		t.Error("the copy of an unchanged list was written again")
	}

	// A restart with a missing and a bad file.
	os.Remove(cfg[0].File)
	write(t, cfg[1].File, "\xff\n")
	l, errs := Open(cfg, Options{LastGood: copies})
	wantErrors(t, errs,
		"list a: open "+cfg[0].File+": no such file or directory; its last good copy is used",
		"list b: "+cfg[1].File+`: no entry in 1 lines, read as plain; line 1: "�": `+"not UTF-8 text"+"; its last good copy is used")
	wantHeld(t, l, "b.test", "a b")
	wantHeld(t, l, "x.b.test", "b")
	if r := l.Reports()[0]; !r.LastGood || r.Full != 2 || r.Format != "hosts" || r.File != cfg[0].File || !r.LoadedAt.Equal(before.ModTime()) {
		t.Errorf("report of a: %+v", r)
	}
	write(t, cfg[0].File, "0.0.0.0 new.test\n")
	if changed, errs := l.Reload(); !changed || len(errs) != 1 {
		t.Errorf("reload after a is back: %v, %v", changed, errs)
	}
	wantHeld(t, l, "new.test", "a")
	wantHeld(t, l, "a.test", "")

	// An unknown format, and a copy that is bad too.
	write(t, filepath.Join(copies, "b.list"), "\xff\n")
	cfg[0].Format = "nonsense"
	l, errs = Open(cfg, Options{LastGood: copies})
	wantHeld(t, l, "new.test", "a")
	reason := cfg[1].File + `: no entry in 1 lines, read as plain; line 1: "�": ` + "not UTF-8 text"
	wantErrors(t, errs,
		`list a: unknown format "nonsense": want one of `+strings.Join(format.Names(), ", ")+`; its last good copy is used`,
		"list b: "+reason+"; its last good copy is bad too: list b: "+reason+"; it stays empty until its file is valid")
}

func TestCopyFails(t *testing.T) {
	dir := t.TempDir()
	cfg := lists(dir, "a")
	write(t, cfg[0].File, "a.test\n")
	blocked := filepath.Join(dir, "state")
	write(t, blocked, "a file where a folder should be")
	l, errs := Open(cfg, Options{LastGood: blocked})
	if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), "list a: cannot store its last good copy: ") {
		t.Fatalf("errors %v", errs)
	}
	wantHeld(t, l, "a.test", "a")
	os.Remove(blocked)
	if changed, errs := l.Reload(); changed || len(errs) > 0 {
		t.Fatalf("reload: %v, %v", changed, errs)
	}
	if _, err := os.Stat(filepath.Join(blocked, "a.list")); err != nil {
		t.Fatal(err)
	}
}

func TestSetLists(t *testing.T) {
	dir := t.TempDir()
	cfg := lists(dir, "a", "b", "c")
	for _, n := range []string{"a", "b", "c"} {
		write(t, filepath.Join(dir, n+".txt"), n+".test\nkeyword:both\n")
	}
	l, errs := Open(cfg[:2], Options{})
	wantErrors(t, errs)
	old, err := l.Index().Selection("b")
	if err != nil {
		t.Fatal(err)
	}
	if changed, errs := l.SetLists(cfg[:2]); changed || len(errs) > 0 {
		t.Errorf("the same lists: %v, %v", changed, errs)
	}
	// b moves to the front, a goes, c comes; b's file is gone by now.
	os.Remove(cfg[1].File)
	changed, errs := l.SetLists([]gateway.List{cfg[1], cfg[2]})
	if !changed || len(errs) != 1 {
		t.Fatalf("%v, %v", changed, errs)
	}
	wantHeld(t, l, "a.test", "")
	wantHeld(t, l, "b.test", "b")
	wantHeld(t, l, "bothersome.test", "b c")
	if m := l.Index().Match("b.test"); !m.Listed(old) {
		t.Error("a selection from before does not find list b")
	}
	if m := l.Index().Match("c.test"); m.Listed(old) {
		t.Error("a selection of b from before finds list c")
	}
	// Another format for the same file and content is read again.
	again := cfg[2]
	again.Format = "hosts"
	if _, errs = l.SetLists([]gateway.List{again}); len(errs) != 1 {
		t.Fatalf("errors %v", errs)
	}
	wantHeld(t, l, "c.test", "c")
	if changed, _ := l.SetLists(nil); !changed || len(l.Reports()) > 0 {
		t.Error("no lists: want a change and no reports")
	}
	wantHeld(t, l, "c.test", "")

	many := make([]gateway.List, index.MaxLists+1)
	for i := range many {
		many[i] = gateway.List{Name: fmt.Sprint("l", i), File: cfg[2].File}
	}
	_, errs = l.SetLists(many)
	wantErrors(t, errs, "list l512: more than 512 lists")
	if got := l.Index().Match("c.test").Lists(); len(got) != index.MaxLists {
		t.Errorf("held by %d lists, want %d", len(got), index.MaxLists)
	}
}

func TestFifo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Check(gateway.List{Name: "p", File: file})
	if err == nil || err.Error() != "list p: read "+file+": not a regular file" {
		t.Errorf("a pipe: %v", err)
	}
}

// watching is a library that watches a directory of lists.
type watching struct {
	*Library
	swaps atomic.Int32
	log   *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func watch(t *testing.T, cfg []gateway.List) *watching {
	t.Helper()
	log := &lockedBuffer{}
	l, errs := Open(cfg, Options{Settle: 25 * time.Millisecond, Poll: time.Hour, Rest: time.Hour, Log: slog.New(slog.NewTextHandler(log, nil))})
	wantErrors(t, errs)
	x := &watching{Library: l, log: log}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Watch(ctx, func() { x.swaps.Add(1) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return x
}

// becomes waits until the wanted lists hold a name.
func (w *watching) becomes(t *testing.T, name, want string) {
	t.Helper()
	netlab.Eventually(t, 5*time.Second, func() error {
		got := which(w.Index(), name)
		return netlab.Check(got == want, "%s: held by %q, want %q; log:\n%s", name, got, want, w.log)
	})
}

// logs waits until a text is in the log so many times.
func (w *watching) logs(t *testing.T, text string, times int) {
	t.Helper()
	netlab.Eventually(t, 5*time.Second, func() error {
		return netlab.Check(strings.Count(w.log.String(), text) == times, "%q is not in the log %d times:\n%s", text, times, w.log)
	})
}

// TestWatch: what filewatch notices is reloaded, a list whose file is gone stays, and the
// files of other lists are watched as soon as these are set.
func TestWatch(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	cfg, next := lists(dir, "a"), lists(other, "b")
	file := cfg[0].File
	write(t, file, "one.test\n")
	write(t, next[0].File, "b.test\n")
	w := watch(t, cfg)

	write(t, file, "two.test\n")
	w.becomes(t, "two.test", "a")

	os.Remove(file)
	w.logs(t, "no such file or directory", 1)
	wantHeld(t, w.Library, "two.test", "a")
	write(t, file, "three.test\n")
	w.becomes(t, "three.test", "a")

	if _, errs := w.SetLists(next); len(errs) > 0 {
		t.Fatal(errs)
	}
	write(t, next[0].File, "c.test\n")
	w.becomes(t, "c.test", "b")

	// onSwap is called after the swap that becomes has seen.
	netlab.Eventually(t, time.Second, func() error {
		n := w.swaps.Load()
		return netlab.Check(n == 3, "onSwap was called %d times, want 3", n)
	})
}

// TestSwapUnderLoad swaps while many goroutines ask; the race detector looks on.
// What stays on a list is never missed, and an index is never half of one.
func TestSwapUnderLoad(t *testing.T) {
	cfg := lists(t.TempDir(), "a", "b")
	write(t, cfg[0].File, "stays.test\neven.test\n")
	write(t, cfg[1].File, "other.test\nregexp:^re[0-9]\n")
	l, errs := Open(cfg, Options{})
	wantErrors(t, errs)
	s, err := l.Index().Selection("a")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ix := l.Index()
				if !ix.Match("www.stays.test.").Listed(s) || which(ix, "re7.test") != "b" {
					t.Error("a name that never left its list was missed")
					return
				}
				if even, odd := ix.Match("even.test").Listed(s), ix.Match("odd.test").Listed(s); even == odd {
					t.Errorf("even %v and odd %v in one index", even, odd)
					return
				}
			}
		})
	}
	for i := range 50 {
		write(t, cfg[0].File, "stays.test\n"+[]string{"odd.test\n", "even.test\n"}[i%2])
		if changed, errs := l.Reload(); !changed || len(errs) > 0 {
			t.Errorf("reload %d: %v, %v", i, changed, errs)
		}
	}
	close(stop)
	asking.Wait()
}

func which(ix *index.Index, name string) string { return strings.Join(ix.Match(name).Lists(), " ") }
