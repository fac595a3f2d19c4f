package wg

import (
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/nameroute/nameroute/gateway"
)

// TestSilentPeer stops the peer and lets it go on: the tunnel is down while it
// is silent under traffic, and with KeepTrying comes back by itself, within 5 s and
// without traffic.
func TestSilentPeer(t *testing.T) {
	f := newFar(t, "fs", 16, "")
	tun := f.open(t, "wgs", 16)
	if err := ping(16); err != nil {
		t.Fatal(err)
	}
	h := NewHealth(gateway.Handshake{Limit: 2 * time.Second})
	down := func() bool {
		return h.Observe(time.Now(), mustStatus(t, tun)).State == Down
	}
	for range 15 { // past the limit, with answers
		if down() {
			t.Fatal("down with a peer that answers")
		}
		if err := ping(16); err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err := f.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the tunnel is down", func() bool {
		_ = echo("ip4:icmp", "10.9.16.1", ipv4.ICMPTypeEcho, 1, 50*time.Millisecond) // traffic
		return down()
	})
	if err := tun.KeepTrying(true); err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, 12*time.Second, "it is back", func() bool { return !down() })
	if err := ping(16); err != nil {
		t.Fatal(err)
	}
}

// TestNoLeak opens and closes repeatedly: neither files nor goroutines pile up.
func TestNoLeak(t *testing.T) {
	f := newFar(t, "fl", 17, "")
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	cycle := func(end string) {
		tun := mustOpen(t, "wgl")
		mustApply(t, tun, f.want(t))
		if end == "deleted" {
			run(t, "ip link del wgl")
			<-tun.Gone()
		}
		if end == "removed" {
			tun.Close()
			if err := Remove("wgl"); err != nil {
				t.Fatal(err)
			}
		}
		tun.Close()
	}
	cycle("closed")
	runtime.GC()                        // library files that are closed by their finaliser
	time.Sleep(1200 * time.Millisecond) // the TUN's status poll ends within a second
	fds, routines := files(), runtime.NumGoroutine()
	for range 5 {
		for _, end := range []string{"closed", "deleted", "removed"} {
			cycle(end)
		}
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		runtime.GC()
		nowFDs, nowRoutines := files(), runtime.NumGoroutine()
		if nowFDs <= fds+1 && nowRoutines <= routines+1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d files after %d, %d goroutines after %d", nowFDs, fds, nowRoutines, routines)
		}
	}
}
