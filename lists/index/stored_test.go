package index

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

// stored returns the stored form of an index of the build "build".
func stored(t testing.TB, ix *Index, attached string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := ix.Store(&b, "build", []byte(attached)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func loadStored(file []byte, build string) (*Index, []byte, error) {
	return Load(bytes.NewReader(file), int64(len(file)), build)
}

// TestStored: an index that was stored answers as before.
func TestStored(t *testing.T) {
	for i := range uint64(50) {
		r := rand.New(rand.NewPCG(i, 3))
		ix, n := randomIndex(r, []int{0, 1, 5, 65}[i%4])
		again, attached, err := loadStored(stored(t, ix, "attached"), "build")
		if err != nil || string(attached) != "attached" {
			t.Fatalf("attached %q, %v", attached, err)
		}
		if again.Len() != ix.Len() || again.seed != ix.seed || !slices.Equal(again.Names(), ix.Names()) {
			t.Fatalf("%d names of lists %q, want %d of %q", again.Len(), again.Names(), ix.Len(), ix.Names())
		}
		for range 60 {
			checkAgainst(t, again, n, randomName(r))
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	good := stored(t, build([]string{"a"}, []entry.Entry{{Kind: entry.Suffix, Text: "a.test"}}), "attached")
	for name, damage := range map[string]func(b []byte) []byte{
		"a bit":     func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"empty":     func([]byte) []byte { return nil },
		"foreign":   func([]byte) []byte { return bytes.Repeat([]byte("something else\n"), 100) },
		"lengths":   func(b []byte) []byte { copy(b[len(magic):], bytes.Repeat([]byte{255}, 40)); return b },
		"checksum":  func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	} {
		if _, _, err := loadStored(damage(slices.Clone(good)), "build"); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrOtherBuild) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What another build stored is not damaged, whatever its layout is.
	old := slices.Clone(good)
	old[len(magic)-1] = 1
	for name, c := range map[string]struct {
		file  []byte
		build string
	}{"another build": {good, "new"}, "no build": {good, ""}, "layout 1": {old, "build"}} {
		if _, _, err := loadStored(c.file, c.build); !errors.Is(err, ErrOtherBuild) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sealed returns a file whose lengths and checksum are right: the fuzzer reaches what
// follows them.
func sealed(about, attached, hashes, narrow, sets []byte) []byte {
	hashes, sets = hashes[:len(hashes)/8*8], sets[:len(sets)/8*8]
	b := []byte(magic)
	for _, n := range []int{len(about), len(attached), len(hashes) / 8, len(narrow), len(sets) / 8} {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	b = slices.Concat(b, about, attached, hashes, narrow, sets)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// FuzzLoad: whatever a file holds, loading ends in an error or in an index that answers.
func FuzzLoad(f *testing.F) {
	ix := build([]string{"a", "b"},
		[]entry.Entry{{Kind: entry.Suffix, Text: "one.example"}, {Kind: entry.Regexp, Text: "^x[0-9]"}},
		[]entry.Entry{{Kind: entry.Below, Text: "one.example"}, {Kind: entry.Keyword, Text: "ads"}})
	about, err := json.Marshal(ix.describe("build"))
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
	f.Add([]byte(`{"Build":"build","Width":1}`), bytes.Repeat([]byte{1}, 64), make([]byte, 8), []byte{}, []byte("raw"))
	f.Fuzz(func(t *testing.T, about, hashes, narrow, sets, raw []byte) {
		if ix, _, err := loadStored(sealed(about, raw, hashes, narrow, sets), "build"); err == nil {
			for _, name := range []string{"www.one.example", "ads.x1.example", "x1", "."} {
				ix.Match(name).Lists()
			}
			if rebuilt := ix.Rebuild(ix.Names(), make([]*Part, len(ix.Names())), nil); rebuilt.Len() > ix.Len() {
				t.Errorf("rebuilt with %d names out of %d", rebuilt.Len(), ix.Len())
			}
		}
		if _, _, err := loadStored(raw, "build"); err == nil {
			t.Error("a file without a checksum was loaded")
		}
	})
}
