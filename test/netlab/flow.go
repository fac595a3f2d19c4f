//go:build linux

package netlab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// flowPace is how often a flow sends.
const flowPace = 10 * time.Millisecond

// Flow is a long-lived TCP connection to a host of the lab that sends a number every
// 10 ms and gets it back. Methods may be called from any goroutine.
type Flow struct {
	Egress Egress // by which it was opened

	conn net.Conn
	done chan struct{}

	mu     sync.Mutex
	report FlowReport
	last   time.Time // when an answer came
}

// FlowReport is how a flow has fared.
type FlowReport struct {
	Sent, Echoed uint64
	Gap          time.Duration // the longest time without an answer, the one now included
	Err          error         // why it ended, nil while it lives
}

// String prints the report in one line, for messages.
func (r FlowReport) String() string {
	return fmt.Sprintf("%d sent, %d echoed, longest gap %v, error %v", r.Sent, r.Echoed, r.Gap.Round(time.Millisecond), r.Err)
}

// Flow opens a flow; if that fails the test ends.
func (h *Host) Flow(to netip.Addr) *Flow {
	h.t.Helper()
	conn, source, err := h.openEcho(to, dialLimit)
	if err != nil {
		h.t.Fatalf("netlab: %s: flow: %v", h.Name, err)
	}
	f := &Flow{Egress: h.lab.Egress(source.Addr()), conn: conn, done: make(chan struct{}), last: time.Now()}
	go f.send()
	go f.receive()
	h.t.Cleanup(f.Close)
	return f
}

func (f *Flow) send() {
	for n := uint64(0); ; n++ {
		if _, err := f.conn.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
			f.end(err)
			return
		}
		f.mu.Lock()
		f.report.Sent++
		f.mu.Unlock()
		select {
		case <-f.done:
			return
		case <-time.After(flowPace):
		}
	}
}

func (f *Flow) receive() {
	defer close(f.done)
	var number [8]byte
	for want := uint64(0); ; want++ {
		if _, err := io.ReadFull(f.conn, number[:]); err != nil {
			f.end(err)
			return
		}
		if got := binary.BigEndian.Uint64(number[:]); got != want {
			f.end(fmt.Errorf("echo of number %d came for %d", got, want))
			return
		}
		f.mu.Lock()
		f.report.Echoed++
		f.report.Gap = max(f.report.Gap, time.Since(f.last))
		f.last = time.Now()
		f.mu.Unlock()
	}
}

func (f *Flow) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.report.Err == nil {
		f.report.Err = err
		f.report.Gap = max(f.report.Gap, time.Since(f.last))
	}
}

// Report tells how the flow has fared since it was opened or since ResetGap.
func (f *Flow) Report() FlowReport {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.report
	if r.Err == nil {
		r.Gap = max(r.Gap, time.Since(f.last))
	}
	return r
}

// ResetGap forgets the longest gap so far.
func (f *Flow) ResetGap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Gap, f.last = 0, time.Now()
}

// Progress waits until a number that is sent from now on has come back, and reports
// whether that happened within limit.
func (f *Flow) Progress(limit time.Duration) bool {
	target := f.Report().Sent + 1
	var r FlowReport
	_ = Poll(limit, func() error {
		r = f.Report()
		return Check(r.Echoed >= target || r.Err != nil, "not yet")
	})
	return r.Echoed >= target
}

// Close ends the flow. Its report then says net.ErrClosed unless it ended before.
func (f *Flow) Close() {
	if err := f.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		f.end(err)
	}
	<-f.done
}
