package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

func sysctl(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestUpAndDown(t *testing.T) {
	f := newFar(t)
	before := run(t, "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; sysctl -a 2>/dev/null | grep -E 'net.ipv[46].*(forwarding|rp_filter|accept_ra |accept_redirects)'")
	cfg := f.config()
	c := f.start(cfg)
	vpn, wan := cfg.Routes[0].Mark, cfg.WANRoute().Mark
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	awaitAnswer(t, wan, "192.0.2.2", "2001:db8:1::2")
	soon(t, "forwarding", func() bool {
		return sysctl(t, "net/ipv4/ip_forward") == "1" && sysctl(t, "net/ipv6/conf/all/forwarding") == "1"
	})
	for name, want := range map[string]string{
		"net/ipv4/conf/wg0/rp_filter": "0", "net/ipv6/conf/wan0/accept_ra": "2",
	} {
		if got := sysctl(t, name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	soon(t, "counters in the status", func() bool {
		s, _ := c.Status().Route("vpn")
		return s.Up && s.V4 && s.V6 && s.Tunnel != nil && s.Tunnel.RX > 0 && s.Tunnel.TX > 0 && time.Since(s.Tunnel.Handshake) < time.Minute
	})

	c.work.Lock()
	c.rec.apply(cfg, true)
	c.log.Reset()
	c.rec.apply(cfg, true)
	if log := c.log.String(); log != "" {
		t.Errorf("a second apply changed something:\n%s", log)
	}
	c.work.Unlock()

	if err := c.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.stop()
	after := run(t, "ip rule; ip -6 rule; ip route show table all; ip -6 route show table all; sysctl -a 2>/dev/null | grep -E 'net.ipv[46].*(forwarding|rp_filter|accept_ra |accept_redirects)'")
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("Down left (-before +after):\n%s", d)
	}
	if left, err := os.ReadDir(f.dir); err != nil || len(left) != 2 { // the lab's own: wg0.conf, far.key
		t.Errorf("Down left in the state directory: %v, error %v", left, err)
	}
	if err := c.Down(t.Context()); err == nil {
		t.Error("a second Down says nothing")
	}
}

// A silent peer takes the route down within the limit; it comes back by itself.
func TestRouteOfSilentPeer(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	const limit = 1500 * time.Millisecond
	c := f.start(cfg, func(o *Options) { o.Timers.Handshake = limit })
	vpn := cfg.Routes[0]
	awaitAnswer(t, vpn.Mark, "10.8.0.2", "fd00:8::2")
	f.silence(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			ask(host4, vpn.Mark.Value) // packets that go unanswered
		}
	}()
	took := c.awaitDown("vpn")
	t.Logf("silent peer: down after %v with a limit of %v", took.Round(time.Millisecond), limit)
	if s, _ := c.Status().Route("vpn"); !strings.HasPrefix(s.Reason, "peer is silent: last handshake") {
		t.Errorf("reason: %q", s.Reason)
	}
	want := "unreachable default proto 110 metric 4294967295 \n"
	if got := run(t, "ip route show table 7201 type unicast; ip route show table 7201 type unreachable"); got != want {
		t.Errorf("table of the route:\n%swant:\n%s", got, want)
	}
	if got := ask(host6, vpn.Mark.Value); got != "no route to host" {
		t.Errorf("IPv6: %s", got)
	}
	awaitAnswer(t, cfg.WANRoute().Mark, "192.0.2.2", "2001:db8:1::2")
	f.silence(false)
	took = c.awaitUp("vpn")
	t.Logf("peer is back: up after %v", took.Round(time.Millisecond))
	awaitAnswer(t, vpn.Mark, "10.8.0.2", "fd00:8::2")
}

func TestLinkDeletedAndDown(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	c := f.start(cfg)
	vpn := cfg.Routes[0].Mark
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	time.Sleep(short.RetryMin)
	for _, c := range []struct{ what, do string }{
		{"deleted", "ip link del wg0"},
		{"down", "ip link set wg0 down"},
		{"without addresses", "ip addr flush dev wg0"},
	} {
		run(t, c.do)
		// Both families' answers come from the tunnel, or there are none: never from the WAN.
		took := soon(t, c.what, func() bool {
			four, six := ask(host4, vpn.Value), ask(host6, vpn.Value)
			if strings.HasPrefix(four, "192.0.2.") || strings.HasPrefix(six, "2001:db8:1:") {
				t.Errorf("%s: leaked, answered to %s, %s", c.what, four, six)
			}
			return four == "10.8.0.2" && six == "fd00:8::2"
		})
		t.Logf("tunnel %s: back within %v", c.what, took.Round(time.Millisecond))
	}
	// Without policy rules or routing tables only the nft table's kill switch is left.
	for _, what := range []string{"ip rule del pref 7201; ip -6 rule del pref 7201", "ip route flush table 7201; ip -6 route flush table 7201"} {
		before := ours(t)
		run(t, what)
		soon(t, "all is back after "+what, func() bool { return ours(t) == before })
	}
	c.awaitUp("vpn")
}

// Hook commands and nonsense block their route and no other; a corrected file opens it.
func TestBadFile(t *testing.T) {
	f := newFar(t)
	f.provide("192.0.2.1:51820", "PostUp = iptables -F")
	other := gateway.Route{Name: "office", Egress: gateway.Egress{Kind: gateway.EgressNextHop, NextHops: f.hops("192.0.2.9", "2001:db8:1::1")}}
	cfg := f.config(other)
	c := f.start(cfg)
	c.awaitUp("office")
	awaitAnswer(t, cfg.Routes[1].Mark, "192.0.2.2", "2001:db8:1::2")
	s, _ := c.Status().Route("vpn")
	if s.Up || !strings.Contains(s.Reason, "wg0.conf:4: PostUp: ") {
		t.Errorf("vpn is up: %v, reason: %s", s.Up, s.Reason)
	}
	if n := strings.Count(c.log.String(), `msg="cannot use the provider file"`); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, c.log)
	}
	wantNone(t, cfg.Routes[0].Mark)
	f.write("[Interface]\nPrivateKey = no\n")
	soon(t, "another reason", func() bool {
		s, _ := c.Status().Route("vpn")
		return strings.Contains(s.Reason, "wg0.conf:2: PrivateKey: ")
	})
	f.provide("192.0.2.1:51820", "")
	awaitAnswer(t, cfg.Routes[0].Mark, "10.8.0.2", "fd00:8::2")
}

// A file that turns bad, or vanishes, leaves the tunnel running; so does a restart.
func TestFileTurnsBad(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	c := f.start(cfg)
	vpn := cfg.Routes[0].Mark
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	f.write("nonsense\n")
	soon(t, "a note", func() bool { s, _ := c.Status().Route("vpn"); return s.Up && strings.Contains(s.Note, "wg0.conf:1:") })
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	c.stop()
	if err := os.Remove(f.conf); err != nil {
		t.Fatal(err)
	}
	again := f.start(cfg)
	again.awaitUp("vpn")
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	if s, _ := again.Status().Route("vpn"); s.Note != f.conf+": not there: want the provider's WireGuard file" {
		t.Errorf("note: %q", s.Note)
	}
	info, err := os.Stat(filepath.Join(f.dir, "wireguard"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the copies' directory: %v %v", info.Mode(), err)
	}
}

// A restart adopts the tunnel: no default is removed meanwhile.
func TestRestart(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	first := f.start(cfg)
	vpn := cfg.Routes[0].Mark
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	state := ours(t)
	first.stop()
	if d := cmp.Diff(state, strings.ReplaceAll(ours(t), " linkdown", "")); d != "" {
		t.Errorf("stopping changed (-running +stopped):\n%s", d)
	}
	if strings.Contains(run(t, "ip -details link show wg0"), "wireguard") {
		awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2") // the kernel runs the tunnel: it goes on
	} else {
		wantNone(t, vpn) // no process runs the tunnel: it is blocked
	}
	second := f.start(cfg)
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	for line := range strings.Lines(second.log.String()) {
		if strings.Contains(line, "msg=changed") && !strings.Contains(line, "sysctl") && !strings.Contains(line, "link=wg0") {
			t.Errorf("the restart changed: %s", line)
		}
	}
}

func TestRouteRemoved(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	c := f.start(cfg)
	vpn := cfg.Routes[0].Mark
	awaitAnswer(t, vpn, "10.8.0.2", "fd00:8::2")
	// Flows of the route, of another of our marks, and of another program's mark.
	netlab.Need(t, "conntrack")
	run(t, `
conntrack -F
for m in 0x01000000 0x01000007 0x7f000000 0x07; do
conntrack -I -p udp -s 192.0.2.2 -d 203.0.113.$((m % 100 + 10)) --sport $((m % 100 + 5000)) --dport 9 -t 300 -m $m
conntrack -I -p udp -s 2001:db8:1::2 -d 2001:db8:ff::$((m % 100 + 10)) --sport $((m % 100 + 5000)) --dport 9 -t 300 -m $m
done`)
	none := *cfg
	none.Routes = nil
	c.SetConfig(&none)
	soon(t, "wg0 is gone", func() bool { return !strings.Contains(run(t, "ip link"), "wg0") })
	soon(t, "its rules and table are gone", func() bool { return !strings.Contains(ours(t), "7201") })
	flows := func(family string) string {
		return run(t, "conntrack -L -f "+family+" 2>/dev/null | grep -o 'mark=[0-9]*' | sort -u")
	}
	for _, family := range []string{"ipv4", "ipv6"} {
		soon(t, "its flows are gone", func() bool { return !strings.Contains(flows(family), "mark=1677721") })
		if got := flows(family); !strings.Contains(got, "mark=2130706432") || !strings.Contains(got, "mark=7\n") {
			t.Errorf("other flows are gone, left: %s", got)
		}
	}
	awaitAnswer(t, cfg.WANRoute().Mark, "192.0.2.2", "2001:db8:1::2")
}

// What an earlier run left of a route that was removed meanwhile is deleted at the start.
func TestRouteRemovedWhileStopped(t *testing.T) {
	f := newFar(t)
	cfg := f.config()
	c := f.start(cfg)
	c.awaitUp("vpn")
	c.stop()
	none := *cfg
	none.Routes = nil
	f.start(&none).awaitUp("wan")
	soon(t, "all of vpn is gone", func() bool {
		return !strings.Contains(ours(t), "7201") && !strings.Contains(run(t, "ip link"), "wg0")
	})
	if left, _ := os.ReadDir(filepath.Join(f.dir, "wireguard")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestForeignLink(t *testing.T) {
	f := newFar(t)
	run(t, "ip link add wg0 type veth peer name wg0peer")
	cfg := f.config()
	c := f.start(cfg)
	soon(t, "refused", func() bool {
		s, _ := c.Status().Route("vpn")
		return strings.Contains(s.Reason, "not made by nameroute")
	})
	wantNone(t, cfg.Routes[0].Mark)
	run(t, "ip link del wg0")
	awaitAnswer(t, cfg.Routes[0].Mark, "10.8.0.2", "fd00:8::2")
}

// A missing WAN and a missing interface are waited for, and found by events.
func TestWaits(t *testing.T) {
	f := newFar(t)
	run(t, "ip route del default; ip -6 route del default")
	other := gateway.Route{Name: "ppp", Egress: gateway.Egress{Kind: gateway.EgressInterface, Link: "ppp0"}}
	cfg := f.config(other)
	c := f.start(cfg)
	c.awaitDown("ppp")
	c.awaitDown("wan")
	wantNone(t, cfg.Routes[1].Mark)
	wantNone(t, cfg.WANRoute().Mark)
	if sysctl(t, "net/ipv6/conf/all/forwarding") != "0" {
		t.Error("forwarding is on, so the missing WAN would accept no advertisement")
	}
	run(t, "ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8:1::1")
	took := c.awaitUp("wan")
	t.Logf("WAN is there: up after %v", took.Round(time.Millisecond))
	run(t, "ip tuntap add ppp0 mode tun; ip addr add 10.7.0.2/32 dev ppp0; ip link set ppp0 up")
	soon(t, "reason", func() bool { s, _ := c.Status().Route("ppp"); return s.Reason == "interface ppp0: no carrier" })
	s, _ := c.Status().Route("wan")
	if s.Reason != "" || !cmp.Equal(s.Links, []string{"wan0"}) {
		t.Errorf("wan: %+v", s)
	}
}
