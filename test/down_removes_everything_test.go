package test

import (
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// `nameroute down` takes out all that is ours, puts back what was changed, and touches
// nothing else; while a nameroute runs, after one was killed, and twice.
func TestDownLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		args   [][]string // what runs
		killed []int      // which of these are killed before
		owner  string
	}{
		{name: "while it runs", args: [][]string{{"run"}}},
		{name: "while both parts run", args: [][]string{{"gateway"}, {"dns"}}},
		{name: "after the dns process was killed", args: [][]string{{"gateway"}, {"dns"}}, killed: []int{1}},
		{name: "after the sidecar was killed", args: [][]string{{"gateway"}, {"dns"}}, killed: []int{0}},
		{name: "after it was killed", args: [][]string{{"run"}}, killed: []int{0}},
		{name: "after it was killed, plain table", args: [][]string{{"run"}}, killed: []int{0}, owner: "owner: off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true, NotRouting: true})
			g.Box.WriteFiles(netlab.Setup{Gateway: c.owner})
			g.Box.Sysctl("net/ipv4/conf/wan0/rp_filter=1", "net/ipv6/conf/wan0/accept_ra=1")
			g.foreignThings()
			// The kernel's own WireGuard switches all/send_redirects off for good when a
			// link of its kind comes up, whichever program made it (wg_open): not ours to put back.
			// Where there is none, embedded devices change nothing.
			_, _ = g.Box.Exec("sh", "-c", "ip link add wgonce type wireguard && ip link set wgonce up; ip link del wgonce")
			before := g.everything()

			var running []*netlab.Process
			for _, args := range c.args {
				p := g.Box.Launch(binary, args...)
				g.logs(p)
				running = append(running, p)
			}
			g.Box.AwaitDNS(running[len(running)-1], 15*time.Second)
			g.Box.AwaitNames("ready.listed.example", 10*time.Second)
			addrs := g.resolve("www.listed.example")
			g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, addrs...)
			if g.everything() == before {
				t.Fatal("nothing was changed: the rest would prove nothing")
			}
			for _, n := range c.killed {
				running[n].Kill()
			}
			g.nameroute("down")
			for n, p := range running {
				if err := p.Wait(time.Second); err != nil && !slices.Contains(c.killed, n) {
					t.Errorf("the running process ended with %v", err)
				}
			}
			g.wantSame("after down", before, g.everything())
			g.nameroute("down")
			g.wantSame("after down for the second time", before, g.everything())
			g.wantVia(g.Box.Host, netlab.ViaWAN, addrs...) // like everything else again
		})
	}
}

// foreignThings are others' tables, rules and kernel routes, as near to ours as can be.
func (g *gate) foreignThings() {
	g.t.Helper()
	g.Box.NFT(`table inet nameroute_of_others {
		set vpn4 { type ipv4_addr; flags interval; elements = { 30.1.2.3 }; }
		chain prerouting { type filter hook prerouting priority mangle; ip daddr @vpn4 accept; }
	}
	table ip nameroute {
		set vpn4 { type ipv4_addr; elements = { 30.1.2.3 }; }
	}`)
	g.Box.IP("rule add priority 7208 fwmark 0x8000000/0x7f000000 lookup 99 protocol 4",
		"rule add priority 7100 fwmark 0x1/0xff lookup 7208",
		"route add 10.99.0.0/24 via 31.0.1.1 dev wan0 table 7208 protocol 4",
		"route add unreachable default metric 77 table 7327",
		"route add fd99::/64 via 2a0e:1::1 dev wan0 table 7208 protocol 4",
		"link add wg9 type bridge", "addr add 10.66.0.9/32 dev wg9", "link set wg9 alias other")
	g.Box.Run("ip", "-6", "rule", "add", "priority", "7300", "from", "fd99::/64", "lookup", "7208")
}

// everything is what a person could see of the box's network.
func (g *gate) everything() string {
	g.t.Helper()
	return g.Box.Sh(`nft --stateless list ruleset
		ip rule; ip -6 rule
		ip -4 route show table all; ip -6 route show table all
		ip -o link; ip -o addr
		find /run -type s | sort
		grep -rs . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf | sort
		ss -Hlntu | awk '{ print $1, $4, $5 }' | sort
		for family in ipv4 ipv6; do conntrack -L -f $family -m 0x8000000/0x7f000000 2>/dev/null; done`)
}
