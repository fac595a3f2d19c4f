package wg

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// TestTunnel runs twice: with the WireGuard that this kernel leads to, and embedded.
func TestTunnel(t *testing.T) {
	t.Run("chosen", func(t *testing.T) { testTunnel(t, false) })
	t.Run("embedded", func(t *testing.T) { testTunnel(t, true) })
}

func testTunnel(t *testing.T, userspace bool) {
	f := newFar(t, "fa", 11, "MTU = 1380")
	tun := openWith(t, "wga", Options{Alias: Alias("vpn"), Log: quiet(t), Userspace: userspace})
	unready := f.want(t)
	unready.Unready, unready.Group = true, 110
	mustApply(t, tun, unready)
	if s, out := mustStatus(t, tun), run(t, "ip link show wga"); !s.LinkUp || s.Drifted || len(s.Peers) > 0 || !strings.Contains(out, " group 110 ") {
		t.Errorf("not ready yet: %+v: %s", s, out)
	}
	if changes := mustApply(t, tun, f.want(t)); !slices.Equal(changes, []string{"peer " + f.key.String()[:8] + " added", "group 0"}) {
		t.Errorf("changes %q", changes)
	}
	if mustApply(t, tun, unready); len(mustStatus(t, tun).Peers) != 1 {
		t.Error("a peer that was there is gone")
	}
	mustApply(t, tun, f.want(t))
	run(t, "ip link del wga")
	tun.Close()
	tun = openWith(t, "wga", Options{Alias: Alias("vpn"), Log: quiet(t), Userspace: userspace})
	changes := mustApply(t, tun, f.want(t))
	want := []string{"fwmark 0x7f000000", "private key", "peer " + f.key.String()[:8] + " added",
		"mtu 1380", "addresses +10.9.11.2/32 +fd09:11::2/128", "up"}
	t.Logf("WireGuard of the kind %s", tun.Kind())
	if !slices.Equal(changes, want) {
		t.Errorf("changes %q\nwant    %q", changes, want)
	}
	run(t, "ip route add 10.9.11.0/24 dev wga")
	run(t, "ip route add fd09:11::/64 dev wga")
	if err := ping(11); err != nil {
		t.Fatal(err)
	}
	t.Run("handshake and counters", func(t *testing.T) {
		s := mustStatus(t, tun)
		p := s.Peers[0]
		if !s.LinkUp || time.Since(p.LastHandshake) > 10*time.Second || p.RX < 200 || p.TX < 200 {
			t.Errorf("%+v", s)
		}
		if got := s.Endpoints()[f.key]; got != netip.MustParseAddrPort("192.0.11.2:51820") {
			t.Errorf("endpoint %v", got)
		}
		if o := NewHealth(gateway.Handshake{}).Observe(time.Now(), s); o.State != Up {
			t.Errorf("%+v", o)
		}
	})
	t.Run("applied twice", func(t *testing.T) {
		if changes := mustApply(t, tun, f.want(t)); len(changes) > 0 {
			t.Errorf("changed %q", changes)
		}
	})
	t.Run("as the operator sees it", func(t *testing.T) {
		if out := run(t, "wg show wga fwmark"); strings.TrimSpace(out) != "0x7f000000" {
			t.Error(out)
		}
		out := run(t, "ip -d link show wga")
		special := map[Kind]string{Kernel: "wireguard", Userspace: "tun type tun pi off vnet_hdr on persist on"}
		for _, w := range []string{"alias nameroute: route vpn", "mtu 1380", "LOWER_UP", "addrgenmode none", special[tun.Kind()]} {
			if !strings.Contains(out, w) {
				t.Errorf("no %q in %s", w, out)
			}
		}
		got := run(t, "ip -br addr show wga")
		if got := strings.Fields(got); !slices.Equal(got[2:], []string{"10.9.11.2/32", "fd09:11::2/128"}) {
			t.Errorf("addresses %v", got)
		}
	})
	t.Run("allowed ips change, the session goes on", func(t *testing.T) {
		before := mustStatus(t, tun).Peers[0]
		w := f.want(t)
		w.Peers[0].AllowedIPs = pfx("10.9.11.0/24", "::/0")
		changes := mustApply(t, tun, w)
		if want := []string{"peer " + f.key.String()[:8] + " allowed ips +10.9.11.0/24 -0.0.0.0/0"}; !slices.Equal(changes, want) {
			t.Errorf("changes %q, want %q", changes, want)
		}
		if err := ping(11); err != nil {
			t.Fatal(err)
		}
		if after := mustStatus(t, tun).Peers[0]; !after.LastHandshake.Equal(before.LastHandshake) || after.RX <= before.RX {
			t.Errorf("before %+v after %+v", before, after)
		}
		mustApply(t, tun, f.want(t))
	})
	t.Run("addresses by difference", func(t *testing.T) { applyAddresses(t, tun, f) })
	t.Run("roamed endpoint", func(t *testing.T) { roamed(t, tun, f) })
	t.Run("keep trying", func(t *testing.T) { keepTrying(t, tun, f) })
	t.Run("link set down is set up", func(t *testing.T) {
		run(t, "ip link set wga down")
		if mustStatus(t, tun).LinkUp {
			t.Error("the link counts as up")
		}
		if changes := mustApply(t, tun, f.want(t)); !slices.Contains(changes, "up") {
			t.Errorf("changes %q", changes)
		}
		eventually(t, 3*time.Second, "link is up", func() bool { return mustStatus(t, tun).LinkUp })
		run(t, "ip route replace 10.9.11.0/24 dev wga")
		run(t, "ip route replace fd09:11::/64 dev wga")
		if err := ping(11); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("control socket removed", func(t *testing.T) {
		if tun.Kind() != Userspace {
			t.Skip("kernel WireGuard has none")
		}
		if err := os.Remove("/var/run/wireguard/wga.sock"); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Second, "socket is back", func() bool { _, err := tun.Status(); return err == nil })
	})
	t.Run("the kind is adopted", func(t *testing.T) {
		kind := tun.Kind()
		tun.Close()
		tun = openWith(t, "wga", Options{Alias: Alias("office"), Log: quiet(t), Userspace: !userspace})
		if tun.Kind() != kind {
			t.Errorf("%s became %s", kind, tun.Kind())
		}
		changes := mustApply(t, tun, f.want(t))
		if want := "alias nameroute: route office"; len(changes) == 0 || changes[0] != want {
			t.Errorf("changes %q, want first %q", changes, want)
		}
		if kind == Kernel && len(changes) > 1 {
			t.Errorf("a kernel tunnel was changed on the way: %q", changes)
		}
		if err := ping(11); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("remove", func(t *testing.T) {
		tun.Close()
		if err := Remove("wga"); err != nil {
			t.Fatal(err)
		}
		if out, err := try("ip link show wga"); err == nil {
			t.Error(out)
		}
		if _, err := os.Stat("/var/run/wireguard/wga.sock"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("control socket: %v", err)
		}
		if err := Remove("wga"); err != nil {
			t.Errorf("twice: %v", err)
		}
		tun.Close()
	})
}

func applyAddresses(t *testing.T, tun *Tunnel, f *far) {
	w := f.want(t)
	w.Addresses = pfx("10.9.11.2/24", "10.9.11.3/24", "fd09:11::2/64", "fe80::7/64")
	changes := mustApply(t, tun, w)
	want := []string{"addresses +10.9.11.2/24 +10.9.11.3/24 +fd09:11::2/64 +fe80::7/64 -10.9.11.2/32 -fd09:11::2/128"}
	if !slices.Equal(changes, want) {
		t.Errorf("changes %q\nwant    %q", changes, want)
	}
	if changes := mustApply(t, tun, w); len(changes) > 0 {
		t.Errorf("twice: %q", changes)
	}
	// The first of a subnet goes, and the kernel takes the second with it.
	w.Addresses = pfx("10.9.11.3/24", "fd09:11::2/64")
	mustApply(t, tun, w)
	if got := strings.Fields(run(t, "ip -br addr show wga")); !slices.Equal(got[2:], []string{"10.9.11.3/24", "fd09:11::2/64"}) {
		t.Errorf("addresses %v", got)
	}
	mustApply(t, tun, f.want(t))
	run(t, "ip route replace 10.9.11.0/24 dev wga")
	run(t, "ip route replace fd09:11::/64 dev wga")
}

func roamed(t *testing.T, tun *Tunnel, f *far) {
	run(t, "wg set wga peer %s endpoint 192.0.11.3:51820", f.key)
	if changes := mustApply(t, tun, f.want(t)); len(changes) > 0 {
		t.Errorf("a roamed peer was set back: %q", changes)
	}
	time.Sleep(50 * time.Millisecond) // a peer refuses a second handshake within 20 ms (wireguard-go's HandshakeInitationRate)
	tun.ResetEndpoints()
	want := []string{"peer " + f.key.String()[:8] + " endpoint 192.0.11.2:51820"}
	if changes := mustApply(t, tun, f.want(t)); !slices.Equal(changes, want) {
		t.Errorf("changes %q, want %q", changes, want)
	}
}

func keepTrying(t *testing.T, tun *Tunnel, f *far) {
	interval := func() string {
		return strings.TrimPrefix(strings.TrimSpace(run(t, "wg show wga persistent-keepalive")), f.key.String()+"\t")
	}
	// The file has none; an embedded tunnel gets one all the same.
	usual := map[Kind]string{Kernel: "off", Userspace: "25"}[tun.Kind()]
	if interval() != usual {
		t.Errorf("interval %s, want %s", interval(), usual)
	}
	tx := mustStatus(t, tun).Peers[0].TX
	if err := tun.KeepTrying(true); err != nil {
		t.Fatal(err)
	}
	if interval() != "5" {
		t.Errorf("interval %s", interval())
	}
	eventually(t, time.Second, "something is sent at once", func() bool { return mustStatus(t, tun).Peers[0].TX > tx })
	if changes := mustApply(t, tun, f.want(t)); len(changes) > 0 {
		t.Errorf("apply undid it: %q", changes)
	}
	if err := tun.KeepTrying(false); err != nil {
		t.Fatal(err)
	}
	if interval() != usual {
		t.Errorf("interval afterwards %s, want %s", interval(), usual)
	}
}

func TestGone(t *testing.T) {
	f := newFar(t, "fg", 12, "")
	tun := f.open(t, "wgg", 12)
	select {
	case <-tun.Gone():
		t.Fatal("gone while it is there")
	case <-time.After(50 * time.Millisecond):
	}
	run(t, "ip link del wgg")
	select {
	case <-tun.Gone():
	case <-time.After(30 * time.Second):
		t.Fatal("not noticed")
	}
	if s := mustStatus(t, tun); s.LinkUp {
		t.Error("counts as up")
	}
	if _, err := tun.Apply(f.want(t)); !errors.Is(err, ErrGone) || err.Error() != "interface wgg: the interface is gone" {
		t.Errorf("got %v", err)
	}
	tun.Close()
	again := f.open(t, "wgg", 12)
	if err := ping(12); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link set wgg down")
	run(t, "ip link set wgg name wgh")
	if _, err := again.Apply(f.want(t)); !errors.Is(err, ErrGone) {
		t.Errorf("renamed: got %v", err)
	}
	run(t, "ip link del wgh")
}
