//go:build linux

package wire

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// snapLength keeps the headers and a whole ordinary DNS query.
	snapLength = 512
	// tapBuffer takes what comes while the reader waits for a processor.
	tapBuffer = 64 << 20
	// tapLimit bounds memory; a test with more packets than that fails.
	tapLimit = 500_000
)

// Tap records the IP packets of one link (AF_PACKET). A packet that it misses, in
// the kernel's buffer or in ours, fails the test: what a tap did not see did not
// happen. All methods may be called from any goroutine.
type Tap struct {
	t    TB
	name string
	file *os.File
	raw  syscall.RawConn

	mu      sync.Mutex
	packets []Packet
	marks   map[string]bool // markers that came by
	missed  int
	err     error
	closed  bool
}

// TB is the part of testing.TB that a tap needs.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// NewTap begins to record a link of the namespace that inside runs a function in. The
// namespace's name is for messages.
func NewTap(t TB, namespace string, inside func(func()), link string) *Tap {
	t.Helper()
	tap := &Tap{t: t, name: namespace + "/" + link, marks: map[string]bool{}}
	var err error
	inside(func() { tap.file, err = packetSocket(link) })
	if err == nil {
		tap.raw, err = tap.file.SyscallConn()
	}
	if err != nil {
		t.Fatalf("netlab: tap %s: %v", tap.name, err)
	}
	go tap.record()
	t.Cleanup(tap.close)
	return tap
}

// close looks a last time whether the record is complete.
func (t *Tap) close() {
	t.t.Helper()
	t.read()
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	if err := t.file.Close(); err != nil {
		t.t.Logf("netlab: tap %s: close: %v", t.name, err)
	}
	t.complete()
}

func packetSocket(link string) (*os.File, error) {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return nil, err
	}
	// Protocol 0 receives nothing until bind names the link; ETH_P_ALL, unlike
	// ETH_P_IP, also shows what the namespace sends.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: l.Attrs().Index}),
	)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tap"), nil
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

// record reads until the socket is closed.
func (t *Tap) record() {
	err := t.raw.Read(func(fd uintptr) bool { t.drain(int(fd)); return false })
	t.fail(err)
}

// read takes in what the kernel holds now, so that an answer counts everything that
// was on the wire before the query.
func (t *Tap) read() {
	t.fail(t.raw.Control(func(fd uintptr) { t.drain(int(fd)) }))
}

func (t *Tap) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.err = errors.Join(t.err, err)
	}
}

func (t *Tap) drain(fd int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var data [snapLength]byte
	var control [64]byte
	for {
		n, nc, _, from, err := unix.Recvmsg(fd, data[:], control[:], unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		switch {
		case err == unix.EAGAIN:
			t.countMissed(fd)
			return
		case err == unix.EINTR, err == unix.ENETDOWN: // the link went down: it may come back
			continue
		case err != nil:
			t.err = errors.Join(t.err, err)
			return
		}
		t.keep(data[:min(n, snapLength)], n, control[:nc], from)
	}
}

func (t *Tap) keep(data []byte, length int, control []byte, from unix.Sockaddr) {
	p, ok := parsePacket(data)
	if !ok { // ARP and the like
		return
	}
	if mark, ok := p.mark(); ok {
		t.marks[mark] = true
		return
	}
	if len(t.packets) >= tapLimit {
		t.missed++
		return
	}
	p.Data = append([]byte(nil), data...)
	p.Length, p.When = length, timestamp(control)
	if ll, ok := from.(*unix.SockaddrLinklayer); ok {
		p.Direction = Direction(ll.Pkttype == unix.PACKET_OUTGOING)
	}
	t.packets = append(t.packets, p)
}

// countMissed adds what the kernel could not store; reading resets its counter.
func (t *Tap) countMissed(fd int) {
	stats, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		t.err = errors.Join(t.err, fmt.Errorf("statistics: %w", err))
		return
	}
	t.missed += int(stats.Drops)
}

func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range messages {
			if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
				return time.Unix((*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Unix())
			}
		}
	}
	return time.Now()
}

// complete ends the test if the record has a hole.
func (t *Tap) complete() {
	t.t.Helper()
	t.mu.Lock()
	missed, err := t.missed, t.err
	t.missed, t.err = 0, nil // reported once
	t.mu.Unlock()
	if missed > 0 || err != nil {
		t.t.Fatalf("netlab: tap %s missed %d packets (error: %v): nothing that it shows can be trusted", t.name, missed, err)
	}
}

// Packets returns the packets since the last Reset that all filters choose, oldest
// first.
func (t *Tap) Packets(filters ...Filter) []Packet {
	t.t.Helper()
	t.read()
	t.complete()
	t.mu.Lock()
	defer t.mu.Unlock()
	var chosen []Packet
	for _, p := range t.packets {
		if p.Passes(filters...) {
			chosen = append(chosen, p)
		}
	}
	return chosen
}

// Marked reports whether a marker came by.
func (t *Tap) Marked(mark string) bool {
	t.read()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.marks[mark]
}

// Count is the number of packets since the last Reset that all filters choose.
func (t *Tap) Count(filters ...Filter) int {
	t.t.Helper()
	return len(t.Packets(filters...))
}

// Reset forgets the packets so far.
func (t *Tap) Reset() {
	t.t.Helper()
	t.read()
	t.complete()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.packets = nil
}
