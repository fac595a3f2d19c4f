// Package pace makes work in the background leave processor time to what answers
// queries: it pauses every so often.
package pace

import (
	"io"
	"time"
)

const (
	// maxSpell is how long work continues at most before a pause, and pause is how long
	// that takes. Go's scheduler polls the network when a thread has nothing to do, or
	// after 10 ms in which none polled (runtime/proc.go, sysmon): on a machine with one or
	// two cores an answer would wait for as long.
	maxSpell = 500 * time.Microsecond
	pause    = 250 * time.Microsecond

	// checkEvery is how many calls of At pass between two readings of the clock.
	checkEvery = 256
)

// Pace paces one goroutine. A nil Pace never pauses: at a start there are no queries yet.
// The zero value is ready.
type Pace struct {
	due    time.Time
	pauses int
}

// Step pauses when it is time to. It is called between pieces of work that are much
// shorter than 500 µs.
func (p *Pace) Step() {
	if p == nil || time.Now().Before(p.due) {
		return
	}
	time.Sleep(pause)
	p.pauses++
	p.due = time.Now().Add(maxSpell)
}

// At is Step for loops whose turns are short: it acts once in 256 turns.
func (p *Pace) At(turn int) {
	if turn%checkEvery == 0 {
		p.Step()
	}
}

// Pauses returns how often p has paused.
func (p *Pace) Pauses() int {
	if p == nil {
		return 0
	}
	return p.pauses
}

// piece is how much is read or written at once, in bytes: hashing it takes some 50 µs.
const piece = 16 << 10

// Reader returns a reader that reads from r at this pace.
func (p *Pace) Reader(r io.Reader) io.Reader {
	if p == nil {
		return r
	}
	return &reader{r, p}
}

type reader struct {
	r io.Reader
	p *Pace
}

func (r *reader) Read(b []byte) (int, error) {
	r.p.Step()
	return r.r.Read(b[:min(len(b), piece)])
}

// Writer returns a writer that writes to w at this pace.
func (p *Pace) Writer(w io.Writer) io.Writer {
	if p == nil {
		return w
	}
	return &writer{w, p}
}

type writer struct {
	w io.Writer
	p *Pace
}

func (w *writer) Write(b []byte) (n int, err error) {
	for {
		w.p.Step()
		k, err := w.w.Write(b[n:min(len(b), n+piece)])
		if n += k; err != nil || n == len(b) {
			return n, err
		}
	}
}
