package firewall_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// TestPacketsWithoutLabels: guarantees 3, a flow keeps its route, 4, kill switch, and 5, no
// routing loops, on a kernel whose conntrack has no labels (CONFIG_NF_CONNTRACK_LABELS), and
// without the mark of sockets and the type of addresses in nftables: ct marks do.
func TestPacketsWithoutLabels(t *testing.T) {
	lab(t)
	k := open(t, learned.Options{Force: nft.ModePlain})
	s := labSpec()
	s.NoLabels, s.NoSockets, s.NoFIB = true, true, true
	applyTwice(t, k, s)
	if out := listTable(t); strings.Contains(out, "ct label") || strings.Contains(out, "socket mark") || strings.Contains(out, "fib ") {
		t.Fatalf("the table has what the kernel lacks:\n%s", out)
	}
	learn(t, k, vpn, time.Hour, "192.168.2.10") // local all the same
	expect(t, "client", "192.168.2.10", "guest 192.168.1.10")
	old := map[string]flow{}
	for _, f := range families {
		learn(t, k, vpn, time.Hour, f.listed)
		for _, ns := range []string{"client", ""} {
			expect(t, ns, f.listed, "vpn "+f.tunnel)
			want := "isp " + f.client
			if ns == "" {
				want = "isp " + f.wan
			}
			expect(t, ns, f.other, want)
			for _, network := range []string{"udp", "tcp"} {
				c, err := connect(t, ns, network, "", f.listed)
				if err != nil || c.ask() != "vpn "+f.tunnel {
					t.Fatalf("%s %s from %q: %v", f.name, network, ns, err)
				}
				old[f.name+" "+network+" from "+ns] = c
			}
		}
		inside := map[string]string{"IPv4": "192.168.1.10", "IPv6": "fd00:1::10"}[f.name]
		expect(t, "isp", inside, "client "+map[string]string{"IPv4": "5.5.5.1", "IPv6": "fd00:5::1"}[f.name])
		expect(t, "vpn", inside, "client "+map[string]string{"IPv4": "10.2.0.1", "IPv6": "fd00:a::1"}[f.name])
	}
	sh(t, "nft 'flush set inet nameroute vpn4; flush set inet nameroute vpn6'")
	for who, c := range old {
		if got := c.ask(); !strings.HasPrefix(got, "vpn ") {
			t.Errorf("%s: without its element it is answered by %q", who, got)
		}
	}
	eventually(t, 30*time.Second, func() bool {
		_, four := k.Remaining(*vpn.Of(addr("8.8.8.8")), addr("8.8.8.8"))
		return !four
	})
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")

	// The kill switch, with no other way than the WAN.
	sh(t, `ip netns exec isp nft 'table inet seen { chain c { type filter hook prerouting priority -300
	ip daddr 8.8.8.8 counter
	ip6 daddr 2606:4700::1 counter
}
}'
ip route flush table 7201; ip -6 route flush table 7201`)
	var asking sync.WaitGroup // without answers: all wait at the same time
	for _, f := range families {
		for _, ns := range []string{"client", ""} {
			asking.Go(func() { expect(t, ns, f.listed, "") })
		}
	}
	for who, c := range old {
		asking.Go(func() {
			if got := c.askWithin(moment); got != "" {
				t.Errorf("%s: answered by %q", who, got)
			}
		})
	}
	asking.Wait()
	if out := sh(t, "ip netns exec isp nft list table inet seen"); strings.Count(out, "packets 0 ") != 2 {
		t.Errorf("the WAN saw\n%s", out)
	}
	dropped, err := stoppedBy()
	if err != nil || dropped["vpn"] == (nft.Counter{}) {
		t.Errorf("counted %v, %v", dropped, err)
	}
}
