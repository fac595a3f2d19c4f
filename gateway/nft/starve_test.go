package nft

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"golang.org/x/sys/unix"
)

// TestOutOfFiles: a process that has no file descriptor left goes on learning, says
// what it cannot do, and recovers by itself when there are some again.
func TestOutOfFiles(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		open(t, Options{Force: m}) // skips what this kernel cannot, and cleans up
		if p := child(t, "starve", string(m)); p.said != "ready" {
			t.Error(p.said)
		}
	})
}

// hoard opens files until no more can be opened, and returns what closes n of them.
func hoard(t *testing.T) (release func(n int)) {
	t.Helper()
	var all []*os.File
	for {
		f, err := os.Open("/dev/null")
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	return func(n int) {
		for _, f := range all[:min(n, len(all))] {
			f.Close()
		}
		all = all[min(n, len(all)):]
	}
}

func childStarves(t *testing.T, mode string) {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var told losses
	k, err := Open(Options{Table: gateway.TableName, Force: Mode(mode), OnLoss: told.add})
	if err != nil {
		t.Fatal(err)
	}
	other, err := openSocket()
	if err != nil {
		t.Fatal(err)
	}
	apply(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")

	release := hoard(t)
	learn(t, k, vpn, time.Hour, "8.8.4.4")
	_, err = k.Apply(t.Context(), Desired(small()))
	if got, want := fmt.Sprint(err), "apply nft table inet nameroute: open netlink socket: socket: too many open files"; got != want {
		t.Fatalf("apply: %s\nwant %s", got, want)
	}
	if mode == string(ModePlain) {
		b := newBatch(nil)
		b.delTable("nameroute")
		if err := other.transact(b); err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Second*slack, func() bool { return len(told.seen()) > 0 })
		if err := told.seen()[0].Err; !errors.Is(err, unix.EMFILE) {
			t.Fatalf("told %v", err)
		}
		if err := k.Learn(t.Context(), vpn, addrs("9.9.9.9"), time.Hour, time.Hour); !errors.Is(err, unix.EMFILE) {
			t.Fatalf("learned into a table that is gone: %v", err)
		}
	}
	release(20)
	eventually(t, 6*time.Second, func() bool {
		return k.Learn(t.Context(), vpn, addrs("9.9.9.9"), time.Hour, time.Hour) == nil
	})

	// The socket breaks when there is none to take its place.
	if err := k.do(t.Context(), func() error { return k.sock.close() }); err != nil {
		t.Fatal(err)
	}
	again := hoard(t)
	err = k.Learn(t.Context(), vpn, addrs("1.1.1.1"), time.Hour, time.Hour)
	if got, want := fmt.Sprint(err), "learn: open netlink socket: socket: too many open files"; got != want {
		t.Fatalf("learn: %s\nwant %s", got, want)
	}
	again(20)
	learn(t, k, vpn, time.Hour, "1.1.1.1")
	for _, a := range []string{"8.8.8.8", "8.8.4.4", "9.9.9.9", "1.1.1.1", "2606:4700::1"} {
		if got := inKernel(t, k, *vpn.of(addr(a)), a); !about(got, time.Hour) {
			t.Fatalf("%s lives %v", a, got)
		}
	}
	fmt.Println("ready")
}

// TestNoBuffers: replies that nobody fetched fill the socket's buffer, and the kernel
// drops the next ones (ENOBUFS). The socket is replaced, and nothing is lost.
func TestNoBuffers(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learn(t, k, vpn, time.Hour, "8.8.8.8")
		var before, after *socket
		err := k.do(t.Context(), func() error {
			before = k.sock
			if err := k.sock.conn.SetReadBuffer(1); err != nil {
				return err
			}
			for range 100 {
				b := newBatch(nil)
				k.prolong(b, (*k.sets.Load())[vpn.Set4], []element{{key: addr("8.8.8.8"), timeout: time.Hour}})
				b.finish()
				b.number(k.sock.seq + 1)
				k.sock.seq += uint32(len(b.ops)) + 2
				if err := k.sock.send(b.buf); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		learn(t, k, vpn, time.Hour, "9.9.9.9", "2606:4700::1")
		if err := k.do(t.Context(), func() error { after = k.sock; return nil }); err != nil || after == before {
			t.Error("the socket is still the one whose replies were lost")
		}
		if n := apply(t, k, small()); n != 0 {
			t.Errorf("%d changes", n)
		}
		for _, a := range []string{"8.8.8.8", "9.9.9.9", "2606:4700::1"} {
			if got := inKernel(t, k, *vpn.of(addr(a)), a); !about(got, time.Hour) {
				t.Errorf("%s lives %v", a, got)
			}
		}
	})
}
