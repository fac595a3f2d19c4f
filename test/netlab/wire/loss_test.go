//go:build linux

package wire

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// failure records how a test ended.
type failure struct {
	testing.TB
	fatal string
}

func (f *failure) Fatalf(format string, args ...any) {
	f.fatal = fmt.Sprintf(format, args...)
	panic(f)
}

// A tap that missed a packet must fail its test.
func TestTapFailsOnLoss(t *testing.T) {
	ended := make(chan string)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends in its namespace
		ended <- lose(&failure{TB: t})
	}()
	switch fatal := <-ended; {
	case strings.HasPrefix(fatal, "needs ") && os.Getenv("NETLAB") != "require":
		t.Skip(fatal)
	case !strings.Contains(fatal, "missed"):
		t.Errorf("the test went on: %q", fatal)
	}
}

// lose sends more than a tap without a buffer can take, while it is not read.
func lose(f *failure) (fatal string) {
	defer func() { recover(); fatal = f.fatal }()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		f.Fatalf("needs a network namespace: %v", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		f.Fatalf("set lo up: %v", err)
	}
	tap := NewTap(f, "alone", func(do func()) { do() }, "lo")
	if err := tap.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
	}); err != nil {
		f.Fatalf("take the buffer away: %v", err)
	}
	tap.mu.Lock() // the reader is kept from its work
	conn, err := net.Dial("udp", "127.0.0.1:9")
	for range 200 {
		if err == nil {
			_, _ = conn.Write(make([]byte, 100)) // that no program listens is told by ICMP
		}
	}
	tap.mu.Unlock()
	if err != nil {
		f.Fatalf("send: %v", err)
	}
	return fmt.Sprint("counted ", tap.Count())
}
