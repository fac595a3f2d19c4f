package firewall_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// labSpec is the lab's: vpn by tun0, with wan0 as the WAN.
func labSpec() firewall.Spec {
	return firewall.Spec{
		Config:   config(route("vpn", 1)),
		Egress:   map[string]firewall.Egress{"vpn": {Links: []string{"tun0"}, Inbound: true, Source: firewall.Source{SNAT4: addr("10.2.0.2"), SNAT6: addr("fd00:a::2")}, MTU: 1420}},
		WANLinks: []string{"wan0"},
		LAN:      prefixes("192.168.1.0/24", "192.168.2.1/32", "fd00:1::/64"),
		Local:    prefixes("192.168.1.0/24", "192.168.2.0/24", "5.5.5.0/24", "10.2.0.0/24", "fd00:1::/64", "fd00:2::/64", "fd00:5::/64", "fd00:a::/64"),
	}
}

// families are the internet addresses of the lab: the first of each pair is learned.
var families = []struct {
	name, listed, other, client, tunnel, wan string
}{
	{"IPv4", "8.8.8.8", "9.9.9.9", "192.168.1.10", "10.2.0.2", "5.5.5.2"},
	{"IPv6", "2606:4700::1", "2620:fe::9", "fd00:1::10", "fd00:a::2", "fd00:5::2"},
}

func TestPacketsByDestination(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	// Somebody else's marks, before and after ours.
	sh(t, `nft -f - <<END
table inet theirs {
	chain pre { type filter hook prerouting priority raw; meta mark set 0x80ff3f01; }
	chain out { type filter hook output priority raw; meta mark set 0x80ff3f01; }
	chain post { type filter hook postrouting priority 300;
		meta mark & 0x80ffffff != 0x80ff3f01 counter
		oifname "tun0" meta mark 0x81ff3f01 counter
		oifname "wan0" meta mark 0x80ff3f01 counter
	}
}
END`)
	for _, f := range families {
		expect(t, "client", f.listed, "isp "+f.client)
		learn(t, k, vpn, time.Hour, f.listed)
		expect(t, "client", f.listed, "vpn "+f.tunnel)
		expect(t, "client", f.other, "isp "+f.client)
	}
	for _, f := range families {
		expect(t, "", f.listed, "vpn "+f.tunnel)
	}
	out := sh(t, "nft list chain inet theirs post")
	if !strings.Contains(out, "!= 0x80ff3f01 counter packets 0 ") || strings.Count(out, "counter packets 0 ") != 1 {
		t.Errorf("bits of others:\n%s", out)
	}
}

func TestPacketsKeepTheirRoute(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{Force: nft.ModePlain})
	apply(t, k, labSpec())
	for _, f := range families {
		for _, network := range []string{"udp", "tcp"} {
			for _, ns := range []string{"client", ""} {
				older, err := connect(t, ns, network, "", f.listed)
				if err != nil {
					t.Fatal(err)
				}
				before := older.ask()
				if !strings.HasPrefix(before, "isp ") {
					t.Fatalf("before it is listed: %q", before)
				}
				learn(t, k, vpn, time.Hour, f.listed)
				if got := older.ask(); got != before {
					t.Errorf("%s %s from %q: a flow that is older than the listing is answered by %q", f.name, network, ns, got)
				}
				newer, err := connect(t, ns, network, "", f.listed)
				if err != nil {
					t.Fatal(err)
				}
				if got := newer.ask(); got != "vpn "+f.tunnel {
					t.Errorf("%s %s from %q: a new flow is answered by %q", f.name, network, ns, got)
				}
				sh(t, "nft flush set inet nameroute %s", vpn.Of(addr(f.listed)).Name)
				for range 3 {
					if got := newer.ask(); got != "vpn "+f.tunnel {
						t.Errorf("%s %s from %q: without its element, a flow is answered by %q", f.name, network, ns, got)
					}
				}
				eventually(t, restored, func() bool { _, ok := k.Remaining(*vpn.Of(addr(f.listed)), addr(f.listed)); return !ok })
			}
		}
	}
}

func TestPacketsNeverRerouted(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	s := labSpec()
	s.Config.Exclude = prefixes("9.9.9.0/24", "2620:fe::/48")
	s.Prefixes = map[string][]netip.Prefix{"vpn": prefixes("8.8.0.0/16", "2606:4700::/32", "192.168.0.0/16", "9.0.0.0/8", "2620::/16", "198.18.0.0/15", "2001:db8::/32")}
	apply(t, k, s)
	learn(t, k, vpn, time.Hour, "9.9.9.9", "2620:fe::9", "198.19.0.9", "2001:db8::9", "192.168.2.10", "192.168.1.1", "5.5.5.1", "fd00:5::1")
	for _, f := range families {
		expect(t, "client", f.listed, "vpn "+f.tunnel) // by its prefix
		expect(t, "client", f.other, "isp "+f.client)  // kept
	}
	expect(t, "client", "192.168.2.10", "guest 192.168.1.10")
	expect(t, "client", "198.19.0.9", "isp 192.168.1.10")
	expect(t, "client", "2001:db8::9", "isp fd00:1::10")

	// private: learn takes special-use addresses, and nothing that is kept.
	s.Config.Routes[0].LearnPrivate = true
	apply(t, k, s)
	expect(t, "client", "198.19.0.9", "vpn 10.2.0.2")
	expect(t, "client", "2001:db8::9", "vpn fd00:a::2")
	expect(t, "client", "192.168.2.10", "guest 192.168.1.10")
}

// TestPacketsClosedDoor: with the route's table gone the main table leads to the WAN;
// not one packet takes it, forwarded or own, new flow or old.
func TestPacketsKillSwitch(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	sh(t, `nft -f - <<END
table inet leak {
	chain post { type filter hook postrouting priority 300
	oifname "wan0" ip daddr 8.8.8.8 counter
	oifname "wan0" ip6 daddr 2606:4700::1 counter
	}
}
END`)
	var open []flow
	for _, f := range families {
		learn(t, k, vpn, time.Hour, f.listed)
		for _, ns := range []string{"client", ""} {
			for _, network := range []string{"udp", "tcp"} {
				c, err := connect(t, ns, network, "", f.listed)
				if err != nil || c.ask() != "vpn "+f.tunnel {
					t.Fatalf("%s from %q: %v", network, ns, err)
				}
				open = append(open, c)
			}
		}
	}
	for _, by := range []string{"for f in -4 -6; do ip $f route flush table 7201; ip $f route del unreachable default metric 4294967295 table 7201 2>/dev/null || :; done", "ip link set tun0 down", "ip link del tun0"} {
		sh(t, "%s", by)
		var asking sync.WaitGroup // without answers: all wait at the same time
		for _, c := range open[:2] {
			asking.Go(func() {
				if got := c.askWithin(moment); got != "" {
					t.Errorf("%s: an old flow is answered by %q", by, got)
				}
			})
		}
		for _, ns := range []string{"client", ""} {
			for _, f := range families {
				asking.Go(func() {
					if got := whoWithin(t, moment, ns, "udp", f.listed); got != "" {
						t.Errorf("%s: from %q answered by %q", by, ns, got)
					}
				})
			}
		}
		asking.Wait()
	}
	for _, f := range families {
		expect(t, "client", f.other, "isp "+f.client)
	}
	if out := sh(t, "nft list table inet leak"); strings.Count(out, "packets 0 ") != 2 {
		t.Errorf("leaked:\n%s", out)
	}
	stopped, err := stoppedBy()
	if err != nil || stopped["vpn"].Packets < 8 {
		t.Errorf("stopped %v, %v", stopped, err)
	}
}

// TestPacketsInbound: connections that come in through the tunnel or from the WAN are answered
// by it, from lan servers and by the box, though the main table says otherwise.
func TestPacketsInbound(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	serve(t, "", addr("192.168.1.1"), 7)
	serve(t, "", addr("fd00:1::1"), 7)
	for _, f := range families {
		box := map[string]string{"IPv4": "192.168.1.1", "IPv6": "fd00:1::1"}[f.name]
		for _, network := range []string{"udp", "tcp"} {
			for _, ns := range []string{"vpn", "isp"} {
				for to, want := range map[string]string{f.client: "client " + f.listed, box: " " + f.listed} {
					c, err := connect(t, ns, network, f.listed, to)
					if err != nil {
						t.Errorf("%s from %s to %s: %v", network, ns, to, err)
						continue
					}
					for range 2 {
						if got := " " + c.ask(); got != " "+strings.TrimSpace(want) {
							t.Errorf("%s from %s to %s: answered by %q", network, ns, to, got)
						}
					}
				}
			}
		}
	}
	// A connection that came in by the WAN is answered by it though its peer is listed.
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	for _, f := range families {
		for ns, from := range map[string]string{"isp": f.listed, "vpn": f.other} {
			c, err := connect(t, ns, "tcp", from, f.client)
			if err != nil || c.ask() != "client "+from {
				t.Errorf("from %s by %s: %v", from, ns, err)
			}
		}
	}
}

// TestPacketsFallBack: while a route with on_down: wan is down, new flows go via the WAN
// and its own flows stay closed; when it is up again, the WAN's flows stay there.
func TestPacketsFallBack(t *testing.T) {
	for _, rule := range []string{"", "meta mark set 0xffffffff ct mark set meta mark", "meta mark set 0x1 ct mark set 0"} {
		t.Run("others: "+rule, func(t *testing.T) { packetsFallBack(t, rule) })
	}
}

func packetsFallBack(t *testing.T, others string) {
	lab(t)
	addOther(t, "before")
	fillOther(t, "before", -150, others)
	k := open(t, learned.Options{})
	s := labSpec()
	s.Config.Routes[0].OnDown = gateway.FallBack
	apply(t, k, s)
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	old := map[string]flow{}
	for _, f := range families {
		for _, network := range []string{"udp", "tcp"} {
			c, err := connect(t, "client", network, "", f.listed)
			if err != nil || c.ask() != "vpn "+f.tunnel {
				t.Fatal(err)
			}
			old[f.name+network] = c
		}
	}
	sh(t, "ip route del default via 10.2.0.1 table 7201; ip -6 route del default via fd00:a::1 table 7201")
	down := s.Egress["vpn"]
	down.Down = true
	s.Egress = map[string]firewall.Egress{"vpn": down}
	applyTwice(t, k, s)
	fellBack := map[string]flow{}
	for _, f := range families {
		expect(t, "client", f.listed, "isp "+f.client)
		if got := old[f.name+"udp"].askWithin(moment); got != "" {
			t.Errorf("%s: a flow of the tunnel is answered by %q", f.name, got)
		}
		c, err := connect(t, "client", "tcp", "", f.listed)
		if err != nil {
			t.Fatal(err)
		}
		fellBack[f.name] = c
	}
	sh(t, "ip route add default via 10.2.0.1 dev tun0 table 7201; ip -6 route add default via fd00:a::1 dev tun0 table 7201")
	down.Down = false
	s.Egress = map[string]firewall.Egress{"vpn": down}
	applyTwice(t, k, s)
	for _, f := range families {
		expect(t, "client", f.listed, "vpn "+f.tunnel)
		if got := fellBack[f.name].ask(); got != "isp "+f.client {
			t.Errorf("%s: a flow of the WAN is answered by %q", f.name, got)
		}
		if got := old[f.name+"tcp"].ask(); got != "vpn "+f.tunnel {
			t.Errorf("%s: a flow of the tunnel is answered by %q", f.name, got)
		}
	}
}

// TestPacketsSharedLink: the next hop is a host on lan. Replies come in by lan, too, and
// must not be sent back out; other packets on that link must not be translated.
func TestPacketsSharedLink(t *testing.T) {
	for _, rule := range []string{"", "meta mark set 0xffffffff ct mark set meta mark", "meta mark set 0x1 ct mark set 0"} {
		t.Run("others: "+rule, func(t *testing.T) { packetsSharedLink(t, rule) })
	}
}

func packetsSharedLink(t *testing.T, others string) {
	lab(t)
	addOther(t, "before")
	fillOther(t, "before", -150, others)
	k := open(t, learned.Options{})
	s := labSpec()
	shared := route("shared", 3)
	s.Config = config(shared)
	s.Egress = map[string]firewall.Egress{"shared": {Links: []string{"br-lan"}, Source: firewall.Source{Masquerade: true}}}
	apply(t, k, s)
	learn(t, k, firewall.Pair(shared), time.Hour, "8.8.8.8", "2606:4700::1")
	for ns, seen := range map[string][2]string{"client": {"192.168.1.1", "fd00:1::1"}, "guest": {"192.168.1.1", "fd00:1::1"}, "": {"192.168.1.1", "fd00:1::1"}} {
		expect(t, ns, "8.8.8.8", "vpnbox "+seen[0])
		expect(t, ns, "2606:4700::1", "vpnbox "+seen[1])
	}
	expect(t, "guest", "192.168.1.10", "client 192.168.2.10")
	expect(t, "client", "9.9.9.9", "isp 192.168.1.10")
	c, err := connect(t, "isp", "tcp", "8.8.8.8", "192.168.1.10")
	if err != nil || c.ask() != "client 8.8.8.8" {
		t.Errorf("in by the WAN from a listed address: %v", err)
	}
}

// TestPacketsMSS: segments fit the tunnel in both directions, and none is made bigger.
func TestPacketsMSS(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	for _, ns := range []string{"vpn", "client"} {
		sh(t, `ip netns exec %s nft -f - <<END
table inet see {
	chain in { type filter hook input priority 0
	tcp flags & syn == syn meta nfproto ipv4 tcp option maxseg size 1380 counter comment "v4"
	tcp flags & syn == syn meta nfproto ipv6 tcp option maxseg size 1360 counter comment "v6"
	tcp flags & syn == syn tcp option maxseg size 1000 counter comment "small"
	tcp flags & syn == syn tcp option maxseg size > 1380 counter comment "big"
	}
}
END`, ns)
	}
	count := func(ns, comment string) (n int) {
		t.Helper()
		out := sh(t, `ip netns exec %s nft list table inet see | sed -n 's/.*packets \([0-9]*\) .*"%s".*/\1/p'`, ns, comment)
		if _, err := fmt.Sscan(out, &n); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		return n
	}
	for _, from := range []string{"client", ""} {
		for _, f := range families {
			if got := who(t, from, "tcp", f.listed); got != "vpn "+f.tunnel {
				t.Fatalf("answered by %q", got)
			}
		}
	}
	for ns, want := range map[string]int{"vpn": 2, "client": 1} { // the box's own SYNs, too; replies to the client
		if v4, v6, big := count(ns, "v4"), count(ns, "v6"), count(ns, "big"); v4 != want || v6 != want || big != 0 {
			t.Errorf("%s saw %d clamped SYNs of IPv4, %d of IPv6, %d too big", ns, v4, v6, big)
		}
	}
	sh(t, "ip -n client route change default via 192.168.1.1 advmss 1000")
	if got := who(t, "client", "tcp", "8.8.8.8"); got != "vpn 10.2.0.2" {
		t.Fatalf("answered by %q", got)
	}
	if n := count("vpn", "small"); n != 1 {
		t.Errorf("a small segment size was changed: %d", n)
	}
}

// TestPacketsInput: our resolver answers lan and the box itself.
func TestPacketsInput(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	s := labSpec()
	s.Listeners = []firewall.Listener{{Proto: "udp", Port: 53}, {Proto: "tcp", Port: 53}, {Addr: addr("5.5.5.2"), Proto: "udp", Port: 54}, {Addr: addr("5.5.5.2"), Proto: "tcp", Port: 54}}
	for _, a := range []string{"5.5.5.2", "fd00:5::2", "10.2.0.2", "fd00:a::2", "192.168.1.1", "fd00:1::1"} {
		serve(t, "", addr(a), 53)
		serve(t, "", addr(a), 54)
	}
	// The table names its listeners only after they listen; before, everybody gets in.
	expect(t, "isp", "5.5.5.2:53", "5.5.5.1")
	apply(t, k, s)
	var asking sync.WaitGroup
	for _, c := range []struct{ ns, to, want string }{
		{"isp", "5.5.5.2:53", ""}, {"isp", "[fd00:5::2]:53", ""}, {"isp", "192.168.1.1:53", ""},
		{"vpn", "10.2.0.2:53", ""}, {"vpn", "[fd00:a::2]:53", ""}, {"guest", "192.168.1.1:53", ""},
		{"client", "192.168.1.1:53", "192.168.1.10"}, {"client", "[fd00:1::1]:53", "fd00:1::10"}, {"client", "5.5.5.2:53", "192.168.1.10"},
		{"", "5.5.5.2:53", "5.5.5.2"}, {"", "[fd00:a::2]:53", "fd00:a::2"},
		{"isp", "5.5.5.2:54", ""}, {"isp", "[fd00:5::2]:54", "fd00:5::1"}, {"vpn", "10.2.0.2:54", "10.2.0.1"},
	} {
		asking.Go(func() { expect(t, c.ns, c.to, c.want) })
	}
	asking.Wait()
}

// TestPacketsErrors: what the box has to say about a route's packets reaches who sent
// them: no way out, and too big for the tunnel.
func TestPacketsErrors(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{})
	apply(t, k, labSpec())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	sh(t, "ip link set tun0 mtu 1300")
	for _, f := range families {
		// Not the box itself: what its own IPv6 sockets hear about a size becomes a cached
		// /128 of the main table, which suppress_prefixlength does not hide.
		out, _ := try("ip netns exec client ping -c 2 -i 0.2 -W 0.4 -M do -s 1350 %s", f.listed)
		if !strings.Contains(out, "mtu") && !strings.Contains(out, "too long") {
			t.Errorf("%s: no error says that the packet is too big:\n%s", f.name, out)
		}
	}
	sh(t, "ip route del default via 10.2.0.1 table 7201; ip -6 route del default via fd00:a::1 table 7201")
	for _, f := range families {
		if out, _ := try("ip netns exec client ping -c 2 -i 0.2 -W 0.4 %s", f.listed); !strings.Contains(strings.ToLower(out), "unreachable") {
			t.Errorf("%s: no error says that it is unreachable:\n%s", f.name, out)
		}
	}
}
