package pace

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// TestPacedIO: what passes through a Pace is the same, whatever the pieces.
func TestPacedIO(t *testing.T) {
	text := make([]byte, 5*piece+17)
	for i := range text {
		text[i] = byte(rand.Uint32())
	}
	for _, p := range []*Pace{nil, {}} {
		if err := iotest.TestReader(p.Reader(bytes.NewReader(text)), text); err != nil {
			t.Error(err)
		}
		for _, n := range []int{0, 1, piece, piece + 1, len(text)} {
			var to bytes.Buffer
			if k, err := p.Writer(&to).Write(text[:n]); k != n || err != nil || !bytes.Equal(to.Bytes(), text[:n]) {
				t.Errorf("%d of %d bytes written, %v", k, n, err)
			}
		}
		if k, err := p.Writer(&fullAfter{left: 20 << 10}).Write(text); k != 20<<10 || err != io.ErrShortWrite {
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

// TestPauses: there is one pause in each spell, and none without a Pace.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const spells, pieces = 20, 10
		work := func(p *Pace) (took time.Duration) {
			start := time.Now()
			for range spells * pieces {
				p.Step()
				time.Sleep(maxSpell / pieces) // the work
			}
			return time.Since(start)
		}
		var p Pace
		if took := work(&p); p.Pauses() != spells || took != spells*(maxSpell+pause) {
			t.Errorf("%d pauses, took %v", p.Pauses(), took)
		}
		if took := work(nil); took != spells*maxSpell {
			t.Errorf("without a Pace it took %v", took)
		}
	})
}

// TestAt: the clock is read once in checkEvery turns.
func TestAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pace
		for turn := range 3 * checkEvery {
			p.At(turn)
			time.Sleep(maxSpell)
		}
		if p.Pauses() != 3 {
			t.Errorf("%d pauses, want 3", p.Pauses())
		}
	})
}
