package hold

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// serve runs a holder until the returned function ends it.
func serve(t *testing.T) (stop func()) { return serveIn(t, "") }

func serveIn(t *testing.T, dir string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	listening, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := Serve(ctx, dir, func() { close(listening) }); err != nil {
			t.Error(err)
		}
	}()
	<-listening
	return func() { cancel(); <-ended }
}

func socketOf(t *testing.T, domain, typ, protocol int) int {
	t.Helper()
	fd, err := unix.Socket(domain, typ|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// same reports whether two descriptors are one socket.
func same(t *testing.T, a, b int) bool {
	t.Helper()
	var s [2]unix.Stat_t
	for i, fd := range []int{a, b} {
		if fd < 0 {
			return false
		}
		if err := unix.Fstat(fd, &s[i]); err != nil {
			t.Fatal(err)
		}
	}
	return s[0].Ino == s[1].Ino
}

// wantHeld wants a socket to be held.
func wantHeld(t *testing.T, fd int) {
	t.Helper()
	netlab.Eventually(t, 30*time.Second, func() error {
		got, err := NewClient("", nil).Fetch()
		if err != nil {
			return err
		}
		defer unix.Close(got)
		return netlab.Check(same(t, got, fd), "another one is held: %d", got)
	})
}

// What is stored is held, in place of what was, over the end of the process that stored it
// and, while that lives, of the holder.
func TestHold(t *testing.T) {
	first, second := socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	c := NewClient("", nil)
	if err := c.Store(first); !errors.Is(err, ErrNoHolder) {
		t.Errorf("no process holds: %v", err)
	}
	stop := serve(t)
	wantHeld(t, first)
	if err := c.Store(second); err != nil {
		t.Fatal(err)
	}
	wantHeld(t, second)
	stop()
	stop = serve(t)
	wantHeld(t, second)
	netlab.Eventually(t, 30*time.Second, func() error { // it hears of it after the holder
		holder, err := c.State()
		return netlab.Check(holder != 0 && err == nil, "held by %d, %v", holder, err)
	})
	c.Close()
	wantHeld(t, second)
	if err := NewClient("", nil).End(); err != nil {
		t.Error(err)
	}
	netlab.Eventually(t, 30*time.Second, func() error {
		_, err := NewClient("", nil).Fetch()
		return netlab.Check(errors.Is(err, ErrNoHolder), "the holder goes on: %v", err)
	})
	stop()
}

// The holder takes one netfilter socket, of root or of its own user, and nothing else.
func TestRefuses(t *testing.T) {
	held := socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	stop := serve(t)
	defer stop()
	c := NewClient("", nil)
	defer c.Close()
	if err := c.Store(held); err != nil {
		t.Fatal(err)
	}
	for name, fds := range map[string][]int{
		"none":            nil,
		"another family":  {socketOf(t, unix.AF_INET, unix.SOCK_DGRAM, 0)},
		"another netlink": {socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
		"two":             {held, held},
		"many":            {held, held, held, held, held, held, held, held},
	} {
		conn, _, err := dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := conn.WriteMsgUnix([]byte{store}, unix.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := receive(conn); err == nil {
			t.Errorf("%s: was accepted", name)
		}
		_ = conn.Close()
	}
	wantHeld(t, held)
	asUser(t, 65534, func() {
		for _, request := range []byte{fetch, store, end} {
			conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: address, Net: "unixpacket"})
			if err != nil {
				t.Errorf("connect: %v", err)
				continue
			}
			if _, err := ask(conn, request, -1); err == nil {
				t.Errorf("another user's request %q was served", request)
			}
			_ = conn.Close()
		}
	})
	wantHeld(t, held)
}

// The owner of nameroute's directory is served by a holder of root, and trusts it.
func TestOwnerOfDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	stop := serveIn(t, dir)
	defer stop()
	held := socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	asUser(t, 65534, func() {
		c := NewClient(dir, nil)
		defer c.Close()
		if err := c.Store(held); err != nil {
			t.Error(err)
		}
	})
	wantHeld(t, held)
	who := &unix.Ucred{Uid: 65534}
	if !trusted(who, dir) || trusted(who, "") || trusted(who, dir+"/none") || trusted(&unix.Ucred{Uid: 65533}, dir) {
		t.Error("the owner of the directory is not the one who is trusted")
	}
}

// asUser runs f on a thread of another user, which is thrown away.
func asUser(t *testing.T, uid uintptr, f func()) {
	t.Helper()
	done := make(chan unix.Errno)
	go func() {
		runtime.LockOSThread()
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid)
		if errno == 0 {
			f()
		}
		done <- errno
	}()
	if errno := <-done; errno != 0 {
		t.Fatal(errno)
	}
}

// A process of another user that listens in place of the holder gets nothing, and what it
// gives is not taken.
func TestImpostor(t *testing.T) {
	var l *net.UnixListener
	asUser(t, 65534, func() {
		var err error
		if l, err = net.ListenUnix("unixpacket", &net.UnixAddr{Name: address, Net: "unixpacket"}); err != nil {
			t.Error(err)
		}
	})
	defer l.Close()
	got := make(chan int, 1)
	given := socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			switch request, fd, err := receive(c); {
			case err == nil && fd >= 0:
				got <- fd
			case request == fetch:
				_ = send(c, fetch, given)
			}
			_ = c.Close()
		}
	}()
	c := NewClient("", func() error { t.Error("a second holder was started"); return nil })
	defer c.Close()
	if err := c.Store(socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)); err == nil {
		t.Error("the socket was stored with another user's process")
	}
	if fd, err := c.Fetch(); err == nil {
		_ = unix.Close(fd)
		t.Error("a socket of another user's process was taken")
	}
	time.Sleep(200 * time.Millisecond)
	select {
	case <-got:
		t.Error("another user's process got the socket")
	default:
	}
}

// Connections beyond the bound are closed, and those before it are served.
func TestConnectionsAreBounded(t *testing.T) {
	stop := serve(t)
	defer stop()
	var open []*net.UnixConn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range maxConns {
		c, _, err := dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	netlab.Eventually(t, 30*time.Second, func() error {
		_, err := NewClient("", nil).Fetch()
		return netlab.Check(err != nil, "one more was served")
	})
	if _, err := ask(open[0], fetch, -1); err != nil {
		t.Errorf("one of the first: %v", err)
	}
	netlab.Eventually(t, 30*time.Second, func() error {
		_, err := NewClient("", nil).Fetch()
		return err
	})
}

// A holder without a socket ends; one that has a socket, or a process that might
// give it one, does not.
func TestIdle(t *testing.T) {
	for name, c := range map[string]struct {
		fd    int
		conns map[*net.UnixConn]bool
		ends  bool
	}{
		"nothing":      {-1, nil, true},
		"a socket":     {3, nil, false},
		"a connection": {-1, map[*net.UnixConn]bool{nil: true}, false},
	} {
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: address, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		s := &server{l: l, fd: c.fd, conns: c.conns}
		s.endIdle()
		if err := l.Close(); (err != nil) != c.ends {
			t.Errorf("%s: ends: %v, want %v", name, err != nil, c.ends)
		}
	}
}

// Changes of the table wait for Store. It gives up a holder that is stopped long before that
// one's own limit, and what it gave is not held in place of something newer when the holder
// goes on; the client stores it again by itself.
func TestHolderIsStopped(t *testing.T) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: address, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	older, newer := socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), socketOf(t, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	c := NewClient("", nil)
	defer c.Close()
	began := time.Now()
	if err := c.Store(older); err == nil {
		t.Error("stored with a holder that is stopped")
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("gave up after %v", took)
	}
	late, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{fd: -1, idle: time.NewTimer(time.Hour)}
	s.keep(newer)
	s.serve(late)
	if s.fd != newer {
		t.Errorf("%d is held in place of %d", s.fd, newer)
	}
	_, _ = late.Close(), l.Close()
	defer serve(t)()
	wantHeld(t, older)
}
