package test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// edit changes the Corefile before the product is started.
func (g *gate) edit(old, new string) {
	g.t.Helper()
	text := g.Box.Run("cat", g.Box.Dir+"/Corefile")
	if !strings.Contains(text, old) {
		g.t.Fatalf("no %q in the Corefile", old)
	}
	g.Box.Write("Corefile", strings.ReplaceAll(text, old, new))
}

// A set that is full refuses new names and nothing else: what is in it stays, flows and
// other names go on, the kernel is asked four times a second at most, and one line says
// so. What no valid answer holds any more makes room.
func TestFullSetUnderFlood(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Gateway: "set_size: 60\nlifetime: {floor: 4s, grace: 4s, ceiling: 1h}", Plugins: "prometheus 127.0.0.1:9153"})
	g.edit("    cache\n", "    cache {\n        success 9984 3600 0\n    }\n")
	g.edit("    route vpn\n", "    route vpn {\n        new_addresses off\n    }\n") // it would refuse most of the flood
	g.World.TTL("short.listed.example", 1)
	g.start()
	kept := g.resolve("kept.listed.example") // 304 s
	flows := g.flows(g.Client, netlab.ViaVPN, kept...)
	g.Reset()
	others := g.ask("other.example")
	before := g.metrics()
	began := time.Now()
	generation := g.generation()

	// 100 names a second that live for 5 s each and are spare for the last 2 s of them.
	var answered, refused atomic.Int64
	var wrong sync.Map
	var flood sync.WaitGroup
	// A slow machine takes longer to fill the sets.
	const lasts, atMost = 7 * time.Second, 25 * time.Second
	goOn := func() bool {
		took := time.Since(began)
		return took < lasts || refused.Load() < 20 && took < atMost
	}
	for c := range 8 {
		flood.Go(func() {
			for n := 0; goOn(); n++ {
				addrs, err := g.Client.Resolve(fmt.Sprintf("n%d-%d.short.listed.example", c, n))
				if err != nil {
					refused.Add(1)
				} else {
					answered.Add(1)
					if egress, err := g.Client.AskWithin(addrs[n%2], 500*time.Millisecond); err == nil && egress != netlab.ViaVPN {
						wrong.Store(addrs[n%2], egress)
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	flood.Wait()
	took := time.Since(began)
	after := g.metrics()
	delta := func(name string) float64 {
		was, _ := metric(t, before, name)
		now, _ := metric(t, after, name)
		return now - was
	}
	full, made := delta("coredns_route_set_full_total"), delta("coredns_route_set_reclaimed_total")
	t.Logf("%d names answered, %d refused; found full %v times, %v addresses made room, %d transactions of the ruleset, in %v",
		answered.Load(), refused.Load(), full, made, g.generation()-generation, took.Round(time.Millisecond))
	if refused.Load() < 1 || made < 20 || answered.Load() < 60 {
		t.Error("want some names refused, some answered, and room made")
	}
	// Two sets, each at most every 250 ms.
	if most := 2 * (took.Seconds()/0.25 + 1); full < 2 || full > most {
		t.Errorf("found full %v times, want 2 to %.0f", full, most)
	}
	for _, set := range []string{"vpn4", "vpn6"} {
		if n := linesWith(g.p.Output(), `set="inet nameroute `+set+`"`); n != 1 {
			t.Errorf("%d lines say that %s is full", n, set)
		}
	}
	wrong.Range(func(a, egress any) bool { t.Errorf("%v went by %v", a, egress); return true })
	g.wantElements(true, kept...)
	flows.wantProgress()
	others.wantAllAnswered(g)
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v", tcp, udp)
	g.wantVia(g.Client, netlab.ViaVPN, kept...)
	g.wantNoneClear(kept...)
	g.wantNoQueryByWAN("listed.example")
}

func (g *gate) metrics() string {
	g.t.Helper()
	_, text, err := g.get(9153, "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	return text
}

// One client that floods the box with fresh names is bounded, and another one does not
// feel more of it than a busy machine.
func TestNoisyClient(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Plugins: "prometheus 127.0.0.1:9153"})
	g.edit("    route vpn\n", "    route vpn {\n        new_addresses 60 100\n    }\n")
	g.start()
	noisy := netlab.NewNamespace(t, "noisy")
	netlab.Cable(noisy, "eth0", g.Box.Namespace, "lan1")
	g.Box.IP("link set lan1 master br-lan")
	noisy.Sysctl("net/ipv6/conf/all/accept_dad=0")
	noisy.IP("addr add 192.168.77.9/24 dev eth0", "addr add fd77:0:0:0:9::9/64 dev eth0 nodad")
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	g.Reset()

	stopped := make(chan struct{})
	var flood sync.WaitGroup
	var asked, limited atomic.Int64
	for n := range 8 {
		at := []netip.Addr{g.BoxLAN.V4, g.BoxLAN.V6}[n%2]
		conn, err := noisy.Dial("udp", netip.AddrPortFrom(at, 53).String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		c := &dns.Conn{Conn: conn}
		flood.Go(func() {
			for {
				reply, err := c.ReadMsg()
				if err != nil {
					return
				}
				if reply.Rcode == dns.RcodeServerFailure {
					limited.Add(1)
				}
			}
		})
		flood.Go(func() {
			defer conn.Close()
			for i := 0; ; i++ {
				select {
				case <-stopped:
					return
				case <-time.After(4 * time.Millisecond):
				}
				if c.WriteMsg(newQuery(fmt.Sprintf("x%d-%d.listed.example", n, i))) == nil {
					asked.Add(1)
				}
			}
		})
	}
	worst, flooded := time.Duration(0), time.Now()
	for i := range 60 {
		began := time.Now()
		got, err := g.Client.Resolve(fmt.Sprintf("calm%d.listed.example", i/2)) // 30 fresh ones, and each again
		if err != nil || len(got) != 2 {
			t.Errorf("the other client: %v, %v", got, err)
		}
		worst = max(worst, time.Since(began))
		time.Sleep(30 * time.Millisecond)
	}
	close(stopped)
	time.Sleep(100 * time.Millisecond)
	flood.Wait()
	elements := len(g.elements())
	t.Logf("one client asked %d times and was refused %d times; the other's worst answer for both families took %v; %d addresses are in the sets",
		asked.Load(), limited.Load(), worst.Round(time.Millisecond), elements)
	if asked.Load() < 300 || limited.Load() < 100 {
		t.Error("that was no flood, or it was not limited")
	}
	// 100 at once and one a second for each of its two sources, and the other client's.
	if most := 2*(100+2+int(time.Since(flooded).Seconds())) + 80; elements > most {
		t.Errorf("%d addresses are in the sets, want %d at most", elements, most)
	}
	flows.wantProgress()
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v", tcp, udp)
	g.wantNoneClear(addrs...)
}

// 10,000 addresses of both families, in answers with many of them: each is in its set
// before its answer.
func TestTenThousandAddresses(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{VPN: "tcp://" + g.Plan.World.V4.String()})
	g.edit("    route vpn\n", "    route vpn {\n        new_addresses off\n    }\n")
	g.World.Behave("big.listed.example", netlab.Behavior{Addresses: 50})
	g.start()
	live := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, live...)
	g.Reset()
	const names, clients = 100, 10
	var total atomic.Int64
	var all []netip.Addr
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	for c := range clients {
		wg.Go(func() {
			for n := range names / clients {
				for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
					reply, err := g.lookup(g.Client, fmt.Sprintf("n%d-%d.big.listed.example", c, n), qtype, "tcp")
					if err != nil {
						t.Error(err)
						return
					}
					got := addressesIn(reply)
					total.Add(int64(len(got)))
					// A packet to any of them now would leave in the clear if it came too early.
					if egress, err := g.Client.Ask(got[rand.IntN(len(got))]); err != nil || egress != netlab.ViaVPN {
						t.Errorf("right after the answer: by %q, %v", egress, err)
					}
					mu.Lock()
					all = append(all, got...)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	t.Logf("%d addresses in %v: %.0f a second", total.Load(), took.Round(time.Millisecond), float64(total.Load())/took.Seconds())
	if total.Load() != 2*names*50 {
		t.Errorf("%d addresses", total.Load())
	}
	g.Settle()
	words := g.sets("vpn")
	in := map[string]bool{}
	for _, w := range words {
		in[w] = true
	}
	missing := slices.DeleteFunc(slices.Clone(all), func(a netip.Addr) bool { return in[a.String()] })
	if len(missing) > 0 {
		t.Errorf("%d addresses are not in the sets, the first is %s", len(missing), missing[0])
	}
	flows.wantProgress()
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v", tcp, udp)
	g.wantNoneClear(append(all, live...)...)
	g.wantNoQueryByWAN("listed.example")
}

// A process that may open no more files answers what it can, keeps what it has, and is
// well again as soon as it may.
func TestOutOfFiles(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	g.Reset()
	opened := g.flood(netlab.ViaVPN, addrs...)
	open, err := os.ReadDir(filepath.Join("/proc", fmt.Sprint(g.p.Pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	few := unix.Rlimit{Cur: uint64(len(open)), Max: 1024}
	if err := unix.Prlimit(g.p.Pid, unix.RLIMIT_NOFILE, &few, &old); err != nil {
		t.Fatal(err)
	}
	// Clients over TCP that find no socket, and fresh names that need one upstream.
	var idle []net.Conn
	for range 20 {
		if c, err := g.Client.DialWith(net.Dialer{Timeout: time.Second}, "tcp", netip.AddrPortFrom(g.BoxLAN.V4, 53).String()); err == nil {
			idle = append(idle, c)
		}
	}
	lines := strings.Count(g.p.Output(), "\n")
	answered := 0
	for n := range 40 {
		if _, err := g.Client.Query(newQuery(fmt.Sprintf("starved%d.listed.example", n)), "udp"); err == nil {
			answered++
		}
		time.Sleep(20 * time.Millisecond)
	}
	cpu := g.cpu(g.p.Pid)
	time.Sleep(500 * time.Millisecond)
	used := g.cpu(g.p.Pid) - cpu
	t.Logf("without files: %d of 40 queries were answered, %d lines in the log, %v of processor in 500 ms",
		answered, strings.Count(g.p.Output(), "\n")-lines, used.Round(time.Millisecond))
	if answered < 30 {
		t.Errorf("only %d of 40 queries were answered", answered)
	}
	if n := strings.Count(g.p.Output(), "\n") - lines; n > 40 {
		t.Errorf("%d lines in the log:\n%s", n, g.p.Output())
	}
	flows.wantProgress()
	old.Max = max(old.Max, 1024)
	if err := unix.Prlimit(g.p.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1024, Max: 1024}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range idle {
		c.Close()
	}
	back := time.Now()
	g.Box.AwaitNames("again.listed.example", 10*time.Second)
	if _, err := g.lookup(g.Client, "tcp.listed.example", dns.TypeA, "tcp"); err != nil {
		t.Error(err)
	}
	t.Logf("all well again after %v", time.Since(back).Round(time.Millisecond))
	g.wantVia(g.Client, netlab.ViaVPN, g.resolve("new.listed.example")...)
	flows.wantProgress()
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v; %d new flows meanwhile", tcp, udp, opened.stop(g))
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// cpu is the processor time that a process has used.
func (g *gate) cpu(pid int) (sum time.Duration) {
	g.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, file := range tasks {
		var ns int64
		if text, err := os.ReadFile(file); err == nil { // a thread may have ended
			fmt.Sscan(string(text), &ns)
		}
		sum += time.Duration(ns)
	}
	return sum
}
