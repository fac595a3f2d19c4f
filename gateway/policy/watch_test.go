package policy

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nameroute/nameroute/test/netlab/measure"

	"golang.org/x/sys/unix"
)

// watch calls do for every kind of change until the test ends.
func watch(t testing.TB, do func(Kind)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	first := make(chan struct{})
	var once atomic.Bool
	go func() {
		end <- Watch(ctx, func(k Kind) {
			do(k)
			if !once.Swap(true) {
				close(first)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-end; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	<-first
}

func TestWatchPutsBack(t *testing.T) {
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	watch(t, func(Kind) {
		now, err := k.Read(cfg)
		if err != nil {
			t.Error(err)
		}
		// An interface that goes meanwhile is no lasting error.
		_, _ = k.Apply(now.State, Desired(cfg, now.Inputs))
	})
	for _, c := range []struct{ what, do string }{
		{"IPv4 rule", "ip rule del pref 7201"},
		{"IPv6 rule", "ip -6 rule del pref 7200"},
		{"all rules", "ip rule flush; ip rule add lookup main pref 32766; ip rule add lookup default pref 32767; ip -6 rule flush; ip -6 rule add lookup main pref 32766"},
		{"IPv4 default", "ip route del default table 7201 metric 100"},
		{"IPv6 backstop", "ip -6 route del unreachable default table 7201 metric 4294967295"},
		{"whole tables", "ip route flush table 7201; ip route flush table 7327; ip -6 route flush table 7201; ip -6 route flush table 7327"},
		{"tunnel down and up", "ip link set wg0 down; ip link set wg0 up; ip addr add fd00:8::2/64 dev wg0 nodad"},
	} {
		run(t, c.do)
		took := soon(t, c.what, func() bool { return shown(t) == golden })
		t.Logf("%s: back within %v (as seen by ip)", c.what, took.Round(time.Millisecond))
	}
	run(t, "ip link del wg0")
	soon(t, "link gone", func() bool { return !strings.Contains(shown(t), "wg0") })
}

// The kernel announces changes of these sysctls at once.
func TestWatchSysctls(t *testing.T) {
	lab(t)
	var kinds atomic.Int64
	watch(t, func(k Kind) { kinds.Or(int64(k)) })
	time.Sleep(3 * settle)
	for _, name := range []string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.wg0.forwarding",
		"net.ipv4.conf.wg0.rp_filter", "net.ipv4.conf.all.rp_filter"} {
		for _, value := range []string{"1", "0"} {
			kinds.Store(0)
			run(t, "sysctl -qw "+name+"="+value)
			soon(t, name, func() bool { return Kind(kinds.Load())&Sysctls != 0 })
		}
	}
}

// TestWatchIsFast: a deleted rule is put back without any other event.
func TestWatchIsFast(t *testing.T) {
	putBack := deleteRule(t)
	for range 10 {
		putBack()
	}
}

// BenchmarkPutBack measures how long a policy rule is missing that another program deletes.
func BenchmarkPutBack(b *testing.B) {
	putBack := deleteRule(b)
	var took measure.Durations
	for b.Loop() {
		took = append(took, putBack())
	}
	took.Report(b)
}

// deleteRule returns a function that deletes a rule, which is watched, and says after what
// time everything is back. No process is started for that.
func deleteRule(t testing.TB) func() time.Duration {
	t.Helper()
	k := lab(t)
	cfg := config(wireguard("vpn", "wg0"))
	watch(t, func(Kind) {
		now, err := k.Read(cfg)
		if err != nil {
			t.Error(err)
		}
		_, _ = k.Apply(now.State, Desired(cfg, now.Inputs))
	})
	other, err := newReader()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.close)
	return func() time.Duration {
		time.Sleep(3 * settle)
		before := read(t, k, cfg).State
		if err := other.h.RuleDel(before.Rules[1].netlink()); err != nil {
			t.Fatal(err)
		}
		return soon(t, "the rule is back", func() bool {
			names, err := other.linkNames()
			if err != nil {
				t.Fatal(err)
			}
			now, err := other.state(names)
			if err != nil {
				t.Fatal(err)
			}
			return now.String() == before.String()
		})
	}
}

func TestWatchCoalesces(t *testing.T) {
	lab(t)
	var calls, kinds atomic.Int64
	watch(t, func(k Kind) { calls.Add(1); kinds.Or(int64(k)) })
	quiet := func() { // no event is under way any more, also on a busy machine
		for n := int64(-1); n != calls.Load(); time.Sleep(5 * settle) {
			n = calls.Load()
		}
	}
	quiet()
	calls.Store(0)
	kinds.Store(0)
	run(t, "for i in $(seq 1 2000); do echo route add 198.18.$((i/256)).$((i%256))/32 dev lan0; done | ip -batch -")
	soon(t, "the changes are noticed", func() bool { return calls.Load() > 0 })
	quiet()
	if k := Kind(kinds.Load()); k != Networks {
		t.Errorf("kinds %b, want %b", k, Networks)
	}
	if n := calls.Load(); n < 1 || n > 200 {
		t.Errorf("%d calls for 2000 changes", n)
	}
}

// A thousand changes a second of kernel routes are delivered as rarely as reading table main
// costs; anything else among them is at once.
func TestWatchPacesNetworks(t *testing.T) {
	cost := mainCost.Swap(int64(40 * time.Millisecond)) // as with some 20,000 kernel routes
	defer mainCost.Store(cost)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := &pending{more: make(chan struct{}, 1)}
		post := func(k Kind) {
			n.kinds.Or(uint32(k))
			select {
			case n.more <- struct{}{}:
			default:
			}
		}
		networks := 0
		var posted, noticed time.Time
		go func() {
			for i := range 10000 {
				if post(Networks); i == 5500 {
					posted = time.Now()
					post(Links)
				}
				time.Sleep(time.Millisecond)
			}
		}()
		_ = n.deliver(ctx, nil, func(k Kind) {
			if k == Networks {
				networks++
			}
			if k&Links != 0 && !posted.IsZero() && noticed.IsZero() {
				noticed = time.Now()
			}
		})
		if networks < 8 || networks > 11 {
			t.Errorf("%d deliveries in 10 s, want one a second", networks)
		}
		if late := noticed.Sub(posted); late < 0 || late > 2*settle {
			t.Errorf("a link's change was noticed after %v", late)
		}
		time.Sleep(time.Second)
	})
}

// Notifications that overflow the socket's buffer are made up for.
func TestWatchOverflow(t *testing.T) {
	lab(t)
	end := make(chan error, 1)
	end <- unix.ENOBUFS
	n := &pending{more: make(chan struct{}, 1)}
	calls := 0
	if err := n.deliver(t.Context(), end, func(Kind) { calls++ }); err != unix.ENOBUFS {
		t.Errorf("error %v", err)
	}
	if calls == 0 {
		t.Error("not called")
	}
}

func TestRouteKind(t *testing.T) {
	msg := func(length, protocol byte, flags byte) []byte {
		return []byte{2, length, 0, 0, 254, protocol, 0, 1, 0, flags, 0, 0}
	}
	for _, c := range []struct {
		name string
		msg  []byte
		want Kind
	}{
		{"short", []byte{2, 0}, 0},
		{"default", msg(0, 4, 0), Defaults},
		{"ours", msg(24, 110, 0), Defaults},
		{"network", msg(24, 2, 0), Networks},
		{"cache entry", msg(32, 2, 2), 0}, // RTM_F_CLONED is 0x200
	} {
		if got := routeKind(c.msg); got != c.want {
			t.Errorf("%s: %b, want %b", c.name, got, c.want)
		}
	}
}
