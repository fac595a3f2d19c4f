package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// A process that does not run for a while and then goes on where it was, with its
// clocks ahead and all that happened meanwhile in the buffers of its sockets: SIGSTOP
// and SIGCONT. A suspended machine is like that for the process: its timers are late
// all at once, its far end has heard nothing, the leases of its sockets are used up. It
// is unlike it in three ways. The kernel goes on here, so that packets meet the table
// and the kill switch without us, which is the harder case. CLOCK_MONOTONIC, which Go's
// timers and our expiry table are counted by, goes on here and stands still in a
// suspend, and so do the kernel's jiffies, by which elements and connections end: the
// two agree in both cases. And the wall clock jumps ahead at a resume, which the tests
// of clocks are about.
func TestStoppedAndContinued(t *testing.T) {
	t.Parallel()
	for _, owner := range []string{"auto", "off"} {
		t.Run("owner "+owner, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{Gateway: "owner: " + owner})
			dog := g.listenForWatchdog()
			g.p = g.Box.StartEnv(append(g.Box.Env(), "NOTIFY_SOCKET="+dog.path, "WATCHDOG_USEC=2000000"), append([]string{binary, "run", "--probe-interval", "100ms"}, g.Box.Flags()...)...)
			g.logs(g.p)
			g.Box.AwaitDNS(g.p, 15*time.Second)
			g.Box.AwaitNames("ready.listed.example", 10*time.Second)
			addrs, taken := g.resolve("www.listed.example"), g.resolve("taken.listed.example")
			forwarded, own := g.flows(g.Client, netlab.ViaVPN, addrs...), g.flows(g.Box.Host, netlab.ViaVPN, addrs...)
			g.wantSettledTable()
			before, elements := g.kernelState(), g.elements()
			g.Reset()
			opened := g.flood(netlab.ViaVPN, addrs...)

			g.p.Signal(unix.SIGSTOP)
			stopped := time.Now()
			// More events than the sockets' buffers take (ENOBUFS), and behind them the
			// loss of what is ours. What stays, the kill switch, blocks.
			g.floodEvents()
			g.wantEventsLost(owner)
			g.Box.Sh(`ip rule show | grep fwmark | sed 's/:.*//' | while read -r pref; do ip rule del pref $pref; done
				ip -6 rule show | grep fwmark | sed 's/:.*//' | while read -r pref; do ip -6 rule del pref $pref; done`)
			if owner == "off" {
				g.deleteElements(taken...)
			}
			time.Sleep(time.Until(stopped.Add(3 * time.Second)))
			g.wantClosed(g.Client, addrs...)
			g.p.Signal(unix.SIGCONT)
			resumed := time.Now()
			g.Box.AwaitNames("again.listed.example", 15*time.Second)
			answers := time.Since(resumed)
			for name, f := range map[string]*flows{"forwarded": forwarded, "own": own} {
				f.wantProgress()
				tcp, udp := f.worst()
				t.Logf("%s flows: longest gap over TCP %v, over UDP %v", name, tcp, udp)
			}
			g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, addrs...)
			t.Logf("stopped for %v; names are answered %v and all flows go on %v after it", resumed.Sub(stopped).Round(time.Millisecond),
				answers.Round(time.Millisecond), time.Since(resumed).Round(time.Millisecond))
			t.Logf("%d new flows meanwhile", opened.stop(g))
			g.wantSettledTable()
			g.wantSame("after the stop", before, g.kernelState())
			if owner == "auto" {
				g.wantSubset(elements, g.elements())
			}
			g.awaitLearnedAgain("taken.listed.example", taken) // from the cache
			if n := linesWith(g.p.Output(), "route is down"); n > 0 {
				t.Errorf("a route was taken for down:\n%s", g.p.Output())
			}
			dog.wantFed(t, resumed)
			g.wantNoneClear(addrs...)
			g.wantNoQueryByWAN("listed.example")
		})
	}
}

// floodEvents makes more events of kernel routes and of nftables, of other programs, than the
// product's sockets have room for (8 and 32 MB, as the kernel counts them).
func (g *gate) floodEvents() {
	g.t.Helper()
	g.Box.Sh(`ip link add flood0 type bridge; ip link set flood0 up
		awk 'BEGIN { for (i = 0; i < 16000; i++) printf "route add 100.64.%d.%d dev flood0 table 99\n", i / 250, i % 250 }' | ip -batch -
		ip link del flood0
		nft 'add table ip flood; add set ip flood s { type ipv4_addr; }'
		flood=$(mktemp)
		awk 'BEGIN { for (i = 0; i < 25000; i++) printf "add element ip flood s { 10.0.%d.%d }\n", i / 250, i % 250
			print "flush set ip flood s" }' >$flood
		for i in 1 2 3 4 5 6; do nft -f $flood; done
		rm $flood; nft delete table ip flood`)
}

// wantEventsLost tells from the kernel that sockets of both kinds had no room for all.
// No program listens for nftables where the table is ours alone.
func (g *gate) wantEventsLost(owner string) {
	g.t.Helper()
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netlink", g.p.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	lost := map[string]int{}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) == 10 { // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
			drops, _ := strconv.Atoi(f[8]) // the heading has none
			lost[f[1]] += drops
		}
	}
	for protocol, name := range map[int]string{unix.NETLINK_ROUTE: "routes", unix.NETLINK_NETFILTER: "nftables"} {
		if protocol == unix.NETLINK_NETFILTER && owner == "auto" {
			continue
		}
		if lost[strconv.Itoa(protocol)] == 0 {
			g.t.Errorf("no events of %s were lost, so that nothing is shown:\n%s", name, table)
		}
	}
}

// watchdog is what systemd would be to the product.
type watchdog struct {
	path string
	mu   sync.Mutex
	fed  []time.Time
}

func (g *gate) listenForWatchdog() *watchdog {
	g.t.Helper()
	w := &watchdog{path: filepath.Join(g.Dir, "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.path, Net: "unixgram"})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "WATCHDOG=1") {
				w.mu.Lock()
				w.fed = append(w.fed, time.Now())
				w.mu.Unlock()
			}
		}
	}()
	return w
}

// wantFed wants the watchdog fed again soon after a moment.
func (w *watchdog) wantFed(t *testing.T, after time.Time) {
	t.Helper()
	netlab.Eventually(t, 5*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		n := len(w.fed)
		return netlab.Check(n > 0 && w.fed[n-1].After(after), "the watchdog is not fed any more (%d times before)", n)
	})
}
