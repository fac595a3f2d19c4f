//go:build linux

package netlab

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

const (
	// quiet is how long a program may take to send what it has decided to send.
	quiet = 50 * time.Millisecond
	// markLimit bounds the wait for markers that cannot come, as the WAN is down or the
	// box does not forward.
	markLimit = 500 * time.Millisecond
)

// takeMarks opens the ISP's port for markers, so that it does not answer them by ICMP.
func (l *Lab) takeMarks() {
	l.t.Helper()
	for _, a := range l.Plan.ISP.All() {
		c, err := l.ISP.ListenPacket("udp", netip.AddrPortFrom(a, wire.MarkerPort).String())
		if err != nil {
			l.t.Fatalf("netlab: port for markers: %v", err)
		}
		l.t.Cleanup(func() { closeQuietly(c) })
	}
}

// Settle waits for packets that are still on their way, before a test says that there
// was none. A moment is not enough on a busy machine: the client and the box then send
// markers to the ISP, behind everything that they sent before, and Settle returns when
// the tap has seen them. Markers are in no tap's record.
func (l *Lab) Settle() {
	time.Sleep(quiet)
	var sent []string
	for _, from := range []*Host{l.Client, l.Box.Host} {
		for _, to := range l.Plan.ISP.All() {
			mark := wire.Marker(l.marks.Add(1))
			conn, err := from.Dial("udp", netip.AddrPortFrom(to, wire.MarkerPort).String())
			if err != nil {
				continue // no kernel route: nothing else is on its way there either
			}
			if _, err := conn.Write([]byte(mark)); err == nil {
				sent = append(sent, mark)
			}
			closeQuietly(conn)
		}
	}
	_ = Poll(markLimit, func() error {
		for _, mark := range sent {
			if !l.ISP.Tap.Marked(mark) {
				return fmt.Errorf("no %s", mark)
			}
		}
		return nil
	})
}
