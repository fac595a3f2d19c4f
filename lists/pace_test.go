package lists

import (
	"bytes"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// What goes through a pace is the same, whatever the pieces.
func TestPacedIO(t *testing.T) {
	text := make([]byte, 5*pacedPiece+17)
	for i := range text {
		text[i] = byte(rand.Uint32())
	}
	for _, p := range []*pace{nil, {}} {
		if err := iotest.TestReader(p.reader(bytes.NewReader(text)), text); err != nil {
			t.Error(err)
		}
		for _, n := range []int{0, 1, pacedPiece, pacedPiece + 1, len(text)} {
			var to bytes.Buffer
			if k, err := p.writer(&to).Write(text[:n]); k != n || err != nil || !bytes.Equal(to.Bytes(), text[:n]) {
				t.Errorf("%d of %d bytes written, %v", k, n, err)
			}
		}
		if k, err := p.writer(&fullAfter{left: 20 << 10}).Write(text); k != 20<<10 || err != io.ErrShortWrite {
			t.Errorf("a writer that is full: %d bytes, %v", k, err)
		}
	}
}

type fullAfter struct{ left int }

func (f *fullAfter) Write(b []byte) (int, error) {
	n := min(len(b), f.left)
	if f.left -= n; n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// A pace rests once in a spell, and not more often.
func TestPaceRests(t *testing.T) {
	var p pace
	rests := 0
	began := time.Now()
	for time.Since(began) < 20*paceSpell {
		due := p.due
		if p.step(); p.due != due {
			rests++
		}
	}
	took := time.Since(began)
	if most := int(took/(paceSpell+paceRest)) + 1; rests == 0 || rests > most {
		t.Errorf("%d rests in %v, want 1 to %d", rests, took, most)
	}
}

// Lists that are taken up beside queries are the same as those of a start.
func TestPacedLibrary(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.txt")
	write(t, file, "first.example\n")
	l, errs := Open([]gateway.List{{Name: "a", File: file}}, Options{LastGood: filepath.Join(dir, "good"), Cache: filepath.Join(dir, "cache")})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var text strings.Builder
	for i := range 3 * paceEvery {
		text.WriteString(strings.Repeat("x", i%7) + "n" + strings.Repeat("y", i/7%40) + ".example\n")
	}
	write(t, file, text.String())
	if changed, errs := l.Reload(); !changed || len(errs) > 0 {
		t.Fatal(changed, errs)
	}
	if l.pace == nil || l.pace.due.IsZero() {
		t.Error("it went as fast as it can")
	}
	again, errs := Open([]gateway.List{{Name: "a", File: file}}, Options{})
	if len(errs) > 0 || again.Index().Len() != l.Index().Len() || l.Index().Len() == 0 {
		t.Errorf("%d names, at a start %d, %v", l.Index().Len(), again.Index().Len(), errs)
	}
	stored, errs := Open([]gateway.List{{Name: "a", File: file}}, Options{Cache: filepath.Join(dir, "cache")})
	if len(errs) > 0 || stored.Index().Len() != l.Index().Len() {
		t.Errorf("%d names out of the compiled form, want %d, %v", stored.Index().Len(), l.Index().Len(), errs)
	}
}
