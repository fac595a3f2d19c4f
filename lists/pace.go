package lists

import (
	"io"
	"time"
)

const (
	// paceSpell is how long compiling goes on at most before it rests, and paceRest for
	// how long. Go's scheduler looks for packets that came in when a thread has nothing
	// to do, or after 10 ms in which none looked (runtime/proc.go, sysmon): on a machine
	// with one or two cores an answer would wait for as long.
	paceSpell = 500 * time.Microsecond
	paceRest  = 250 * time.Microsecond

	// paceEvery is how many entries are handled between two looks at the clock.
	paceEvery = 256
)

// pace makes room for queries while lists are compiled beside them. The nil pace goes
// as fast as it can: at a start nobody can be answered before. It is for one goroutine.
type pace struct{ due time.Time }

// step rests when it is time to. It is called between pieces of work that are much
// shorter than a spell.
func (p *pace) step() {
	if p == nil || time.Now().Before(p.due) {
		return
	}
	time.Sleep(paceRest)
	p.due = time.Now().Add(paceSpell)
}

// at is step for loops: once in paceEvery turns.
func (p *pace) at(turn int) {
	if turn%paceEvery == 0 {
		p.step()
	}
}

// reader reads from r at this pace.
func (p *pace) reader(r io.Reader) io.Reader {
	if p == nil {
		return r
	}
	return &pacedReader{r, p}
}

// pacedPiece is how much is read or written at once: a hash of it takes some 50 us.
const pacedPiece = 16 << 10

type pacedReader struct {
	r io.Reader
	p *pace
}

func (r *pacedReader) Read(b []byte) (int, error) {
	r.p.step()
	return r.r.Read(b[:min(len(b), pacedPiece)])
}

// writer writes to w at this pace.
func (p *pace) writer(w io.Writer) io.Writer {
	if p == nil {
		return w
	}
	return &pacedWriter{w, p}
}

type pacedWriter struct {
	w io.Writer
	p *pace
}

func (w *pacedWriter) Write(b []byte) (n int, err error) {
	for {
		w.p.step()
		piece := b[n:min(len(b), n+pacedPiece)]
		k, err := w.w.Write(piece)
		if n += k; err != nil || n == len(b) {
			return n, err
		}
	}
}
