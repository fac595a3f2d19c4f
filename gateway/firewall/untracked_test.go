package firewall_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// TestPacketsPassedOn: the tunnel's address is removed from the box while an answer to
// the box is under way. It is not passed on by the WAN, in the clear; not even when
// conntrack has forgotten the question.
func TestPacketsPassedOn(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		lab(t)
		// A real tunnel needs no neighbours, and has no reverse-path filter where all have none.
		sh(t, `sysctl -qw net.ipv4.conf.tun0.rp_filter=0
			for a in 10.2.0.2 fd00:a::2; do ip -n vpn neigh replace $a lladdr $(cat /sys/class/net/tun0/address) dev eth0; done`)
		count := func() string {
			return sh(t, `ip netns exec isp nft list chain inet count in | sed -n 's/.*packets \([0-9]*\).*/\1/p' | tr '\n' ' '`)
		}
		sh(t, `ip netns exec isp nft 'add table inet count; add chain inet count in { type filter hook prerouting priority 0; }; add rule inet count in ip daddr 10.2.0.2 counter; add rule inet count in ip6 daddr fd00:a::2 counter'`)
		gone := func() { sh(t, "ip addr del 10.2.0.2/24 dev tun0; ip addr del fd00:a::2/64 dev tun0") }
		back := func() {
			sh(t, `ip addr add 10.2.0.2/24 dev tun0; ip addr add fd00:a::2/64 dev tun0 nodad
				ip route replace default via 10.2.0.1 dev tun0 table 7201; ip route replace default via fd00:a::1 dev tun0 table 7201`)
		}
		var far []net.PacketConn
		for _, f := range families {
			inNamespace(t, "vpn", func() {
				c, err := net.ListenPacket("udp", netip.AddrPortFrom(addr(f.listed), 8).String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				far = append(far, c)
			})
		}
		send := func(i int, to net.Addr) {
			t.Helper()
			if _, err := far[i].WriteTo([]byte("answer"), to); err != nil {
				t.Fatal(err)
			}
		}
		tunnel := []net.Addr{&net.UDPAddr{IP: net.ParseIP("10.2.0.2"), Port: 5555}, &net.UDPAddr{IP: net.ParseIP("fd00:a::2"), Port: 5555}}

		gone()
		for i := range families {
			send(i, tunnel[i])
		}
		eventually(t, 2*time.Second*slack, func() bool { return count() == "1 1 " }) // so it would go
		back()

		k := open(t, learned.Options{Force: m})
		apply(t, k, labSpec())
		var asked []net.Addr
		for i, f := range families {
			learn(t, k, vpn, time.Hour, f.listed)
			c, err := net.Dial("udp", netip.AddrPortFrom(addr(f.listed), 8).String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			_ = far[i].SetReadDeadline(time.Now().Add(patience))
			_, from, err := far[i].ReadFrom(make([]byte, 100))
			if err != nil || host(from) != f.tunnel {
				t.Fatalf("asked by %v, %v; want %s", from, err, f.tunnel)
			}
			asked = append(asked, from)
		}
		gone()
		for i := range families {
			send(i, asked[i])
			send(i, tunnel[i])
		}
		time.Sleep(100 * time.Millisecond) // nothing tells that nothing comes
		if got := count(); got != "1 1 " {
			t.Errorf("packets that came back for the box and left by the WAN: %s, want the 1 1 of before", got)
		}
	})
}
