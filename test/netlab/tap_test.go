package netlab

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// cabled is two namespaces and a tap at the far end of the cable.
func cabled(t TB) (a, b *Namespace, tap *wire.Tap) {
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
	a, _, tap := cabled(t)
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
		if got := tap.Count(wire.To(to), wire.Proto(unix.IPPROTO_UDP), wire.Went(wire.In)); got != tt.count {
			t.Errorf("%s: %d packets, want %d", tt.to, got, tt.count)
		}
		if got := tap.Count(wire.To(to), wire.Went(wire.Out)); got != 0 {
			t.Errorf("%s: %d packets went out", tt.to, got)
		}
		if p := tap.Packets(wire.To(to))[0]; p.When.Before(start.Add(-time.Second)) || p.When.After(time.Now()) || p.Length < 128 {
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
	a, b, tap := cabled(t)
	b.Flap("eth0", 20*time.Millisecond)
	tap.Reset()
	h, to := &Host{Namespace: a}, netip.MustParseAddr("2001:db8::9")
	if _, err := h.Flood(to, 3, 10, 0); err != nil {
		t.Fatal(err)
	}
	if n := tap.Count(wire.To(to)); n != 3 {
		t.Errorf("%d packets after a flap, want 3", n)
	}
}
