package wg

import (
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netns"
)

// listenIn opens a TCP listener inside a named namespace. A socket stays in the
// namespace that it was made in.
func listenIn(t *testing.T, ns, at string) net.Listener {
	t.Helper()
	type result struct {
		l   net.Listener
		err error
	}
	done := make(chan result)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and with it the
		// namespace that it is in.
		runtime.LockOSThread()
		h, err := netns.GetFromName(ns)
		if err == nil {
			err = netns.Set(h)
			h.Close()
		}
		if err != nil {
			done <- result{nil, err}
			return
		}
		l, err := net.Listen("tcp", at)
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.l
}
