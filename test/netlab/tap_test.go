package netlab

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// wire is two namespaces and a tap at the far end of the cable.
func wire(t TB) (a, b *Namespace, tap *Tap) {
	a, b = NewNamespace(t, "a"), NewNamespace(t, "b")
	a.Sysctl("net/ipv6/conf/default/accept_dad=0")
	Cable(a, "eth0", b, "eth0")
	a.IP("addr add 192.0.2.1/24 dev eth0", "addr add 2001:db8::1/64 dev eth0 nodad",
		"neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0", "neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev eth0")
	return a, b, NewTap(b, "eth0")
}

func TestTapCountsExactly(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	a, _, tap := wire(t)
	h := &Host{Namespace: a}
	for _, tt := range []struct {
		to    string
		count int
	}{{"192.0.2.9", 1}, {"2001:db8::9", 7}, {"192.0.2.9", 20000}} {
		tap.Reset()
		to := netip.MustParseAddr(tt.to)
		start := time.Now()
		if sent, err := h.Flood(to, tt.count, 100, 0); err != nil || sent != tt.count {
			t.Fatalf("%s: sent %d (%v)", tt.to, sent, err)
		}
		// The other end is not that address: the tap sees what the host does not take.
		if got := tap.Count(To(to), Proto(unix.IPPROTO_UDP), Went(In)); got != tt.count {
			t.Errorf("%s: %d packets, want %d", tt.to, got, tt.count)
		}
		if got := tap.Count(To(to), Went(Out)); got != 0 {
			t.Errorf("%s: %d packets went out", tt.to, got)
		}
		if p := tap.Packets(To(to))[0]; p.When.Before(start.Add(-time.Second)) || p.When.After(time.Now()) || p.Length < 128 {
			t.Errorf("odd packet: %v", p)
		}
	}
	tap.Reset()
	if n := tap.Count(); n != 0 {
		t.Errorf("%d packets after Reset", n)
	}
}

func TestTapSurvivesFlap(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	a, b, tap := wire(t)
	b.Flap("eth0", 20*time.Millisecond)
	tap.Reset()
	h, to := &Host{Namespace: a}, netip.MustParseAddr("2001:db8::9")
	if _, err := h.Flood(to, 3, 10, 0); err != nil {
		t.Fatal(err)
	}
	if n := tap.Count(To(to)); n != 3 {
		t.Errorf("%d packets after a flap, want 3", n)
	}
}

// A tap that missed a packet must fail its test.
func TestTapFailsOnLoss(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	r := &record{}
	fatal := r.run(func() {
		a, _, tap := wire(r)
		if err := tap.raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 0); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Error(err)
		}
		tap.mu.Lock() // the reader is kept from its work
		_, err := (&Host{Namespace: a}).Flood(netip.MustParseAddr("192.0.2.9"), 200, 100, 0)
		tap.mu.Unlock()
		if err != nil {
			t.Error(err)
		}
	})
	if !strings.Contains(fatal, "missed") {
		t.Errorf("the test went on: %q", fatal)
	}
}
