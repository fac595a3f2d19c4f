package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// A process that ends, however it ends, leaves everything in place and the kill switch
// active, which no other program can remove meanwhile. The next one adopts what it finds, and
// flows go on.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(*gate)
	}{
		{"SIGKILL", func(g *gate) { g.p.Kill() }},
		{"SIGTERM", func(g *gate) {
			if err := g.p.Stop(); err != nil {
				g.t.Errorf("SIGTERM: ended with %v", err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, netlab.Setup{})
			var addrs []netip.Addr
			for i := range 10 {
				addrs = append(addrs, g.resolve(fmt.Sprintf("n%d.listed.example", i))...)
			}
			forwarded := g.flows(g.Client, netlab.ViaVPN, addrs[:2]...)
			own := g.flows(g.Box.Host, netlab.ViaVPN, addrs[:2]...)
			g.wantSettledTable()
			netlab.Eventually(t, 30*time.Second, func() error { return netlab.Check(len(g.holders()) == 1, "no holder") })
			first := g.holders()
			g.killHolder() // another one takes its place
			netlab.Eventually(t, 30*time.Second, func() error {
				now, status := g.holders(), g.printedStatus()
				return netlab.Check(len(now) == 1 && !slices.Equal(now, first) && strings.Contains(status, fmt.Sprintf("process %d keeps the nft table while nameroute is stopped", now[0])), "holders %v, status says:\n%s", now, status)
			})
			before, elements, index := g.kernelState(), g.elements(), g.linkIndex()
			g.Reset()
			flood := g.flood(netlab.ViaVPN, addrs[2:6]...)

			ended := time.Now()
			c.end(g)
			t.Logf("ended after %v", time.Since(ended).Round(time.Millisecond))
			g.wantUnflushable(c.name + ", nobody runs")
			g.wantClosed(g.Client, addrs[6:10]...)
			g.wantClosed(g.Box.Host, addrs[6:10]...)
			g.wantNoneClear(addrs...)
			g.wantSubset(elements, g.elements())
			if now := g.linkIndex(); now != index {
				t.Errorf("interface wg0 is another one while no nameroute runs: %s, want %s", now, index)
			}
			g.wantVia(g.Client, netlab.ViaWAN, g.World.Addresses("not-asked.example").All()...)
			alone := time.Since(ended)

			began := time.Now()
			g.start()
			t.Logf("alone for %v; starting took %v", alone.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			forwarded.wantProgress()
			own.wantProgress()
			tcp, udp := forwarded.worst()
			t.Logf("forwarded flows: longest gap over TCP %v, over UDP %v", tcp, udp)
			tcp, udp = own.worst()
			t.Logf("own flows: longest gap over TCP %v, over UDP %v", tcp, udp)
			t.Logf("%d new flows meanwhile", flood.stop(g))
			g.wantSubset(elements, g.elements())
			if now := g.linkIndex(); now != index {
				t.Errorf("interface wg0 was made again: %s, want %s", now, index)
			}
			g.wantSettledTable()
			g.wantSame("after the restart", before, g.kernelState())

			for _, f := range []*flows{forwarded, own} {
				f.resetGap()
			}
			g.wantUnflushable("started again")
			c.end(g) // and up again at once, as an upgrade does
			g.start()
			for name, f := range map[string]*flows{"forwarded": forwarded, "own": own} {
				f.wantProgress()
				tcp, udp := f.worst()
				t.Logf("ended and started at once: %s flows: longest gap over TCP %v, over UDP %v", name, tcp, udp)
			}
			g.wantNoneClear(addrs...)
			g.wantNoQueryByWAN("listed.example")
		})
	}
}

// wantUnflushable has other programs try to remove our table, as firewalls do that are
// reloaded. Where the kernel knows tables with owners, one of ours stays.
func (g *gate) wantUnflushable(when string) {
	g.t.Helper()
	own := "nameroute"
	if strings.Contains(g.Box.Run("nft", "list", "tables"), "nameroute_replica") {
		own = "nameroute_replica"
	}
	rules := g.Box.Run("nft", "--stateless", "list", "table", "inet", own)
	g.Box.Sh(`others=$(nft list tables | grep -v ' nameroute' | while read line; do nft list $line; done)
		nft flush ruleset
		echo 'flush ruleset; table inet fw4 { chain forward { type filter hook forward priority filter; policy accept; }; }' | nft -f -
		printf '*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n' | iptables-nft-restore
		nft flush ruleset
		echo "$others" | nft -f -`)
	for _, remove := range []string{"delete table inet ", "flush table inet ", "delete chain inet " + own + " kill_switch; flush table inet "} {
		if out, err := g.Box.Exec("nft", remove+own); err == nil {
			g.t.Errorf("%s: another program could %s: %s", when, remove+own, out)
		}
	}
	if now := g.Box.Run("nft", "--stateless", "list", "table", "inet", own); now != rules {
		g.t.Errorf("%s: the table was changed:\n%s\nfrom\n%s", when, now, rules)
	}
}

// linkIndex is the number by which the kernel knows wg0; one that was made again has
// another.
func (g *gate) linkIndex() string {
	g.t.Helper()
	out := g.Box.Run("ip", "-o", "link", "show", "wg0")
	index, _, _ := strings.Cut(out, ":")
	return index
}

// kernelState is all that is ours in the kernel, without counters and learned
// elements, and without what shows whether another program runs: the table's owner and the
// tunnel's carrier.
func (g *gate) kernelState() string {
	g.t.Helper()
	state := g.Box.Sh(`nft --stateless --terse list table inet nameroute
		for set in exclude4 exclude6 special4 special6 vpn4p vpn6p; do nft list set inet nameroute $set; done
		ip rule; ip -6 rule
		ip -4 route show table all proto 110; ip -6 route show table all proto 110
		ip -o addr show dev wg0 | sed 's/valid_lft.*//'
		sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.wg0.rp_filter`)
	return strings.NewReplacer(" linkdown", "", " # progname nameroute", "", "flags owner", "flags ").Replace(state)
}

// wantSame compares what the kernel has with what it had, line by line.
func (g *gate) wantSame(when, before, now string) {
	g.t.Helper()
	had, has := strings.Split(before, "\n"), strings.Split(now, "\n")
	for _, line := range had {
		if !slices.Contains(has, line) {
			g.t.Errorf("%s the kernel lacks: %s", when, line)
		}
	}
	for _, line := range has {
		if !slices.Contains(had, line) {
			g.t.Errorf("%s the kernel has besides: %s", when, line)
		}
	}
}
