package updater

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var sum1 = strings.Repeat("ab", 32)

func TestMetaRoundTrip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "m")
	want := meta{
		SHA256: sum1, Rules: 3, URL: "https://lists.example/", Fetched: time.Unix(1e9, 5).UTC(), Checked: time.Unix(1e9+1, 0).UTC(),
		ETag: `"x"`, LastModified: "Thu", Rejected: sum1, Next: time.Unix(2e9, 0).UTC(), Failures: 2, Error: "x",
		Part: &part{URL: "https://lists.example/", Validator: `"x"`, Size: 7},
	}
	if err := want.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readMeta(file)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v (%v): URLs may carry tokens", info.Mode(), err)
	}
	if got, err := readMeta(file + ".none"); err != nil || got != (meta{}) {
		t.Errorf("a missing file: %+v, %v", got, err)
	}
}

func TestBadMetaIsRefused(t *testing.T) {
	for text, why := range map[string]string{
		"":                 "unexpected end of JSON input",
		"{":                "unexpected end of JSON input",
		`{"sha256":"abc"}`: `"abc" is not a SHA-256`,
		`{"sha256":"` + strings.ToUpper(sum1) + `"}`: "is not a SHA-256",
		`{"rules":-1}`:                        "a negative count",
		`{"etag":"a\nb"}`:                     "a validator that no header can carry",
		`{"part":{"size":0,"validator":"x"}}`: "a part that cannot be resumed",
		strings.Repeat(" ", maxMeta+1):        "more than 65536 bytes",
	} {
		if _, err := parseMeta([]byte(text)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.40q: %v, want %s", text, err, why)
		}
	}
}

// An unreadable metadata file costs one fetch, never the content.
func TestLostMetaCostsOneFetch(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	if err := os.WriteFile(b.store.meta("l"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.answer(file(list(4, "example")))
	if r := b.update(Updated, ""); r.Before != 3 {
		t.Errorf("before: %d entries", r.Before)
	}
	b.holds(list(4, "example"))
	if !strings.Contains(b.log.String(), "stored state of a list is unusable") {
		t.Errorf("the log does not say so:\n%s", b.log)
	}
}

// FuzzMeta: whatever the bytes are, what is accepted can be written and read again and
// holds what the fetch relies on.
func FuzzMeta(f *testing.F) {
	f.Add([]byte(`{"sha256":"` + sum1 + `","rules":3,"etag":"W/\"x\"","next":"2026-01-02T03:04:05Z","part":{"url":"u","validator":"v","size":3}}`))
	f.Add([]byte(`{"fetched":"0001-01-01T00:00:00Z","failures":9}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMeta(data)
		if err != nil {
			return
		}
		if m.SHA256 != "" && !isSum(m.SHA256) || m.Rules < 0 || m.Failures < 0 || m.Part != nil && m.Part.Size <= 0 {
			t.Fatalf("accepted: %+v", m)
		}
		file := filepath.Join(t.TempDir(), "m")
		if err := m.write(file); err != nil {
			return // a time beyond year 9999 cannot be written
		}
		again, err := readMeta(file)
		if err != nil {
			if info, e := os.Stat(file); e == nil && info.Size() > maxMeta {
				return // escapes made it longer
			}
			t.Fatalf("what was written is refused: %v", err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("(-first +second)\n%s", diff)
		}
	})
}

func FuzzFindSum(f *testing.F) {
	f.Add([]byte(sum1+"  list.txt\n"), "list.txt")
	f.Add([]byte("SHA256 (list.txt) = "+sum1), "list.txt")
	f.Fuzz(func(t *testing.T, text []byte, file string) {
		if sum, ok := findSum(text, file); ok != isSum(sum) {
			t.Fatalf("%q, %v", sum, ok)
		}
	})
}
