package lists

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/index"
)

// aged makes a file old enough for its signature to be relied on.
func aged(t *testing.T, file string, text string) {
	t.Helper()
	write(t, file, text)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
}

// rely makes the library check its files when their signatures are old enough to be relied
// on. It is for a bubble of synctest, whose clock is behind that of the files.
func rely(t *testing.T, l *Library) {
	t.Helper()
	time.Sleep(100 * 365 * 24 * time.Hour)
	if changed, errs := l.Reload(); changed || len(errs) > 0 {
		t.Fatalf("reload: changed %v, %v", changed, errs)
	}
}

func cachedLists(t *testing.T) (dir string, cfg []gateway.List, o Options, log *bytes.Buffer) {
	t.Helper()
	dir, log = t.TempDir(), &bytes.Buffer{}
	cfg = []gateway.List{{Name: "a", File: filepath.Join(dir, "a.txt")}, {Name: "b", File: filepath.Join(dir, "b.txt")}}
	aged(t, cfg[0].File, "one.example\nfull:two.example\nkeyword:tracker\nregexp:^ads[0-9]+\\.\n192.0.2.0/24\n2001:db8::/32\n")
	aged(t, cfg[1].File, "*.three.example\none.example\n")
	o = Options{
		Cache: filepath.Join(dir, "state"), LastGood: filepath.Join(dir, "state"),
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	return dir, cfg, o, log
}

// asks maps names to the lists of cachedLists that hold them.
var asks = map[string][]string{
	"www.one.example": {"a", "b"}, "one.example": {"a", "b"}, "two.example": {"a"}, "www.two.example": nil,
	"three.example": nil, "x.three.example": {"b"}, "mytracker.example": {"a"}, "ads12.example": {"a"}, "ads.example": nil,
}

func answers(t *testing.T, ix *index.Index, want map[string][]string) {
	t.Helper()
	for name, lists := range want {
		if got := ix.Match(name).Lists(); !slices.Equal(got, lists) {
			t.Errorf("%s is on %v, want %v", name, got, lists)
		}
	}
}

// TestCacheRestart: a restart with unchanged lists opens no list, and knows all that the
// first start knew.
func TestCacheRestart(t *testing.T) { synctest.Test(t, testCacheRestart) }

func testCacheRestart(t *testing.T) {
	_, cfg, o, log := cachedLists(t)
	first, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	answers(t, first.Index(), asks)
	rely(t, first)
	info, err := os.Stat(filepath.Join(o.Cache, cacheName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the seed can be read by others: %v", info.Mode())
	}

	pending := filepath.Join(o.Cache, "."+cacheName+"123") // of a process that was killed
	write(t, pending, "half")
	second, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if _, err := os.Stat(pending); err == nil {
		t.Error("an unfinished file is left")
	}
	answers(t, second.Index(), asks)
	if got, want := second.Index().Len(), first.Index().Len(); got != want {
		t.Errorf("%d names, want %d", got, want)
	}
	for i, r := range second.Reports() {
		was := first.Reports()[i]
		if !r.LoadedAt.Equal(was.LoadedAt) {
			t.Errorf("list %s was read again: at %v, first at %v", r.Name, r.LoadedAt, was.LoadedAt)
		}
		if r.String() != was.String() {
			t.Errorf("report %q, want %q", r, was)
		}
	}
	if got, want := second.Prefixes("a"), first.Prefixes("a"); len(got) != 2 || !slices.Equal(got, want) {
		t.Errorf("prefixes %v, want %v", got, want)
	}
	now, err := os.Stat(filepath.Join(o.Cache, cacheName))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(info, now) {
		t.Error("the restart wrote the cache again")
	}
	if log.Len() > 0 {
		t.Errorf("logged: %s", log)
	}
}

// TestCacheChangedWhileDown: what changed while the program was down is read; the rest comes
// from the cache.
func TestCacheChangedWhileDown(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, cfg []gateway.List) []gateway.List
		want   map[string][]string
	}{
		{"content", func(t *testing.T, cfg []gateway.List) []gateway.List {
			write(t, cfg[1].File, "four.example\n")
			return cfg
		}, map[string][]string{"four.example": {"b"}, "x.three.example": nil, "one.example": {"a"}, "mytracker.example": {"a"}}},
		{"same size and mtime", func(t *testing.T, cfg []gateway.List) []gateway.List {
			aged(t, cfg[1].File, "*.seven.example\none.example\n")
			return cfg
		}, map[string][]string{"x.seven.example": {"b"}, "x.three.example": nil}},
		{"another file", func(t *testing.T, cfg []gateway.List) []gateway.List {
			other := filepath.Join(filepath.Dir(cfg[1].File), "other.txt")
			aged(t, other, "five.example\n")
			return []gateway.List{cfg[0], {Name: "b", File: other}}
		}, map[string][]string{"five.example": {"b"}, "one.example": {"a"}, "x.three.example": nil}},
		{"list removed", func(t *testing.T, cfg []gateway.List) []gateway.List { return cfg[1:] },
			map[string][]string{"one.example": {"b"}, "two.example": nil, "mytracker.example": nil}},
		{"other order", func(t *testing.T, cfg []gateway.List) []gateway.List { return []gateway.List{cfg[1], cfg[0]} },
			map[string][]string{"one.example": {"b", "a"}, "ads12.example": {"a"}, "x.three.example": {"b"}}},
		{"file gone", func(t *testing.T, cfg []gateway.List) []gateway.List {
			if err := os.Remove(cfg[0].File); err != nil {
				t.Fatal(err)
			}
			return cfg
		}, asks},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, cfg, o, log := cachedLists(t)
			if _, errs := Open(cfg, o); len(errs) > 0 {
				t.Fatal(errs)
			}
			cfg = c.change(t, cfg)
			for range 2 { // the second start reads what the first has stored
				l, _ := Open(cfg, o)
				answers(t, l.Index(), c.want)
			}
			if log.Len() > 0 {
				t.Errorf("logged: %s", log)
			}
		})
	}
}

// TestCacheDamaged: a cache that is damaged or something else is renamed and written again.
// The rest of what may be wrong with the file is up to package index.
func TestCacheDamaged(t *testing.T) {
	_, cfg, o, log := cachedLists(t)
	if _, errs := Open(cfg, o); len(errs) > 0 {
		t.Fatal(errs)
	}
	file := filepath.Join(o.Cache, cacheName)
	bad, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad[len(bad)/2] ^= 1
	write(t, file, string(bad))
	l, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	answers(t, l.Index(), asks)
	if saved, err := os.ReadFile(file + ".bad"); err != nil || !bytes.Equal(saved, bad) {
		t.Errorf("not renamed: %v", err)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), index.ErrDamaged.Error()) {
		t.Errorf("logged: %s", log)
	}
	if _, _, err := loadCache(file, buildID()); err != nil {
		t.Errorf("not written again: %v", err)
	}
}

// TestCacheOfAnotherBuild: what another build of the program stored, in this layout or an
// older one, is replaced without a warning.
func TestCacheOfAnotherBuild(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, l *Library, file string){
		"other build": func(t *testing.T, l *Library, file string) {
			if err := saveCache(file, "other", l.Index(), l.holdings, nil); err != nil {
				t.Fatal(err)
			}
		},
		"older layout": func(t *testing.T, _ *Library, file string) {
			write(t, file, "nameroute index\x01"+strings.Repeat("\x00", 200))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, cfg, o, log := cachedLists(t)
			l, errs := Open(cfg, o)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			file := filepath.Join(o.Cache, cacheName)
			replace(t, l, file)
			l, errs = Open(cfg, o)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			answers(t, l.Index(), asks)
			if strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), index.ErrOtherBuild.Error()) {
				t.Errorf("logged: %s", log)
			}
			if _, err := os.Stat(file + ".bad"); err == nil {
				t.Error("it was renamed")
			}
			if _, _, err := loadCache(file, buildID()); err != nil {
				t.Errorf("not replaced: %v", err)
			}
		})
	}
}

// TestCacheCannotBeWritten: if the cache cannot be replaced, the old one is removed: it may
// hold names that a list has lost since.
func TestCacheCannotBeWritten(t *testing.T) {
	dir, cfg, o, log := cachedLists(t)
	o.Cache = filepath.Join(dir, "a.txt", "below a file")
	l, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	answers(t, l.Index(), asks)
	if !strings.Contains(log.String(), "the compiled index cannot be stored") || !strings.Contains(log.String(), "not a directory") {
		t.Errorf("logged: %s", log)
	}
}
