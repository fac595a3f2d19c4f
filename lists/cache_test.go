package lists

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
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

// relied makes the library look again when the signatures are old enough: a file's
// ctime cannot be set back.
func relied(t *testing.T, l *Library) {
	t.Helper()
	time.Sleep(clockGrain + 100*time.Millisecond)
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

// asks are names and the lists that hold them, for the lists of cachedLists.
var asks = map[string][]string{
	"www.one.example": {"a", "b"}, "one.example": {"a", "b"}, "two.example": {"a"}, "www.two.example": nil,
	"three.example": nil, "x.three.example": {"b"}, "mytracker.example": {"a"}, "ads12.example": {"a"}, "ads.example": nil,
}

func answers(t *testing.T, ix *Index, want map[string][]string) {
	t.Helper()
	for name, lists := range want {
		if got := ix.Which(ix.Match(name)); !slices.Equal(got, lists) {
			t.Errorf("%s is on %v, want %v", name, got, lists)
		}
	}
}

// A restart with unchanged lists opens no list, and knows all that the first start knew.
func TestCacheRestart(t *testing.T) {
	_, cfg, o, log := cachedLists(t)
	first, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	answers(t, first.Index(), asks)
	relied(t, first)
	info, err := os.Stat(filepath.Join(o.Cache, cacheName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the seed can be read by others: %v", info.Mode())
	}

	second, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if second.Index().seed != first.Index().seed {
		t.Error("the index is not the one that was stored")
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

// What has changed while the program was down is read; the rest comes from the cache.
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
		{"list taken out", func(t *testing.T, cfg []gateway.List) []gateway.List { return cfg[1:] },
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

// A cache that is damaged, cut short or somebody else's is set aside and made anew.
func TestCacheDamaged(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"a bit":    func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"longer":   func(b []byte) []byte { return append(b, 0) },
		"empty":    func([]byte) []byte { return nil },
		"foreign":  func([]byte) []byte { return []byte(strings.Repeat("something else\n", 100)) },
		"version":  func(b []byte) []byte { b[len(cacheMagic)-1]++; return b },
		"lengths":  func(b []byte) []byte { copy(b[len(cacheMagic):], bytes.Repeat([]byte{255}, 32)); return b },
		"checksum": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			_, cfg, o, log := cachedLists(t)
			if _, errs := Open(cfg, o); len(errs) > 0 {
				t.Fatal(errs)
			}
			file := filepath.Join(o.Cache, cacheName)
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			bad := damage(slices.Clone(good))
			write(t, file, string(bad))
			l, errs := Open(cfg, o)
			if len(errs) > 0 {
				t.Fatal(errs)
			}
			answers(t, l.Index(), asks)
			if aside, err := os.ReadFile(file + ".bad"); err != nil || !bytes.Equal(aside, bad) {
				t.Errorf("not set aside: %v", err)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), errCorrupt.Error()) {
				t.Errorf("logged: %s", log)
			}
			if _, _, err := openCache(file); err != nil {
				t.Errorf("not made anew: %v", err)
			}
		})
	}
}

// Another build may read lists otherwise, so it takes nothing over.
func TestCacheOfAnotherBuild(t *testing.T) {
	_, cfg, o, _ := cachedLists(t)
	l, errs := Open(cfg, o)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var b bytes.Buffer
	if err := writeCache(&b, l.Index(), l.holding, "old"); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"new", ""} {
		if _, _, err := readCache(bytes.NewReader(b.Bytes()), int64(b.Len()), program); !errors.Is(err, errForeign) {
			t.Errorf("program %q: %v", program, err)
		}
	}
}

// Where the cache cannot be replaced the old one goes: it may hold names that have
// left their list since.
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

// sealed makes a file whose lengths and checksum are right, so that the fuzzer
// reaches what lies behind them.
func sealed(about, hashes, narrow, sets []byte) []byte {
	hashes, sets = hashes[:len(hashes)/8*8], sets[:len(sets)/8*8]
	b := []byte(cacheMagic)
	for _, n := range []int{len(about), len(hashes) / 8, len(narrow), len(sets) / 8} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	b = slices.Concat(b, about, hashes, narrow, sets)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Whatever is in the file, reading ends in an error or in an index that answers.
func FuzzCache(f *testing.F) {
	b := NewBuilder([]string{"a", "b"})
	b.Add(0, entry.Entry{Kind: entry.Suffix, Text: "one.example"})
	b.Add(1, entry.Entry{Kind: entry.Below, Text: "one.example"})
	b.Add(1, entry.Entry{Kind: entry.Keyword, Text: "ads"})
	b.Add(0, entry.Entry{Kind: entry.Regexp, Text: "^x[0-9]"})
	ix := b.Build()
	about, err := describeCache(ix, nil, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	bytesOf := func(words []uint64) (b []byte) {
		for _, w := range words {
			b = binary.LittleEndian.AppendUint64(b, w)
		}
		return b
	}
	f.Add(about, bytesOf(ix.names.hashes), ix.names.narrow, bytesOf(ix.values.sets), []byte(nil))
	f.Add([]byte(`{"Program":"fuzz","Width":1}`), bytes.Repeat([]byte{1}, 64), make([]byte, 8), []byte{}, []byte("raw"))
	f.Fuzz(func(t *testing.T, about, hashes, narrow, sets, raw []byte) {
		file := sealed(about, hashes, narrow, sets)
		if ix, _, err := readCache(bytes.NewReader(file), int64(len(file)), "fuzz"); err == nil {
			for _, name := range []string{"www.one.example", "ads.x1.example", "x1", "."} {
				ix.Which(ix.Match(name))
			}
			if rebuilt := rebuild(ix, ix.Names(), make([]*part, len(ix.Names())), nil); rebuilt.Len() > ix.Len() {
				t.Errorf("rebuilt with %d names out of %d", rebuilt.Len(), ix.Len())
			}
		}
		if _, _, err := readCache(bytes.NewReader(raw), int64(len(raw)), "fuzz"); err == nil {
			t.Error("a file without a checksum was taken")
		}
	})
}
