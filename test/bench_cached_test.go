package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// cachedServers are what BenchmarkCachedOverUDP loads: what the nft table around it is, and
// the Corefile's lines. Unbound has none, and learns nothing.
var cachedServers = []struct {
	name, corefile string
	unbound        bool
}{
	{name: "own-table/replayed", corefile: cachedOwn},
	{name: "own-table/handlers", corefile: "replay off\n" + cachedOwn},
	{name: "own-table/unbound", corefile: cachedOwn, unbound: true},
	{name: "set/replayed", corefile: cachedSet},
	{name: "set/handlers", corefile: "replay off\n" + cachedSet},
	{name: "set/unbound", corefile: cachedSet, unbound: true},
}

const (
	cachedOwn = "route vpn\n"
	cachedSet = "route vpn {\n set inet user four six\n}\n"
)

// BenchmarkCachedOverUDP loads the box from the client's namespace, by dnsperf, with 1,000 cached
// names, each listed and learned: nameroute with its own table and with sets of another
// program's, with and without answers from memory, and unbound behind the same tables. They
// take turns on the cores that dnsperf needs, too: three rounds, of which the medians are
// reported.
func BenchmarkCachedOverUDP(b *testing.B) {
	netlab.Need(b, "dnsperf")
	for _, s := range cachedServers {
		b.Run(s.name, func(b *testing.B) {
			g := bareGate(b, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{})
			g.World.TTL("listed.example", 3600)
			g.Box.Run("nft", "add table inet user; add set inet user four { type ipv4_addr; flags timeout; }; add set inet user six { type ipv6_addr; flags timeout; }")
			g.Box.Write("Corefile", fmt.Sprintf(". {\nlisted mine\n%scache\nupstream vpn %s\n}\n. {\ncache\nupstream wan %s\n}\n", s.corefile, g.Plan.World.V4, g.Plan.ISP.V4))
			pid, port := g.start().Pid, 53
			if s.unbound {
				port = 5300
				pid = g.Box.Start("unbound", "-d", "-c", g.Box.Write("unbound.conf", fmt.Sprintf(unboundConf, g.BoxLAN.V4, port, g.Plan.World.V4))).Pid
			}
			var names strings.Builder
			for _, name := range numbered(1000, "listed.example") {
				fmt.Fprintln(&names, name, "A")
			}
			file := filepath.Join(g.Dir, "names")
			if err := os.WriteFile(file, []byte(names.String()), 0o600); err != nil {
				b.Fatal(err)
			}
			g.perf(b, file, port, 3)
			var rates, costs []float64
			for b.Loop() {
			}
			for range 3 {
				before := cpuTime(b, pid)
				done, rate := g.perf(b, file, port, 5)
				rates, costs = append(rates, rate), append(costs, (cpuTime(b, pid)-before)*1e6/done)
			}
			slices.Sort(rates)
			slices.Sort(costs)
			b.ReportMetric(rates[1], "q/s")
			b.ReportMetric(costs[1], "cpu-µs/q")
			b.ReportMetric(0, "ns/op")
		})
	}
}

const unboundConf = `server:
    interface: %s@%d
    access-control: 0.0.0.0/0 allow
    do-daemonize: no
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    num-threads: 2
    so-reuseport: yes
    module-config: "iterator"
    local-zone: "example." nodefault
    msg-cache-size: 64m
    rrset-cache-size: 128m
forward-zone:
    name: "."
    forward-addr: %s
`

// perf loads a port of the box with the names of a file for some seconds.
func (g *gate) perf(b *testing.B, file string, port, seconds int) (done, rate float64) {
	b.Helper()
	var out []byte
	var err error
	g.Client.Do(func() {
		out, err = exec.Command("dnsperf", "-s", g.BoxLAN.V4.String(), "-p", strconv.Itoa(port), "-d", file, "-l", strconv.Itoa(seconds), "-q", "200", "-c", "8", "-T", "1").CombinedOutput()
	})
	read := func(line string) float64 {
		m := regexp.MustCompile(line + `:\s*([0-9.]+)`).FindSubmatch(out)
		if m == nil {
			b.Fatalf("dnsperf: %v\n%s", err, out)
		}
		n, _ := strconv.ParseFloat(string(m[1]), 64)
		return n
	}
	return read("Queries completed"), read("Queries per second")
}

// cpuTime is what a process has used, in seconds.
func cpuTime(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks float64
	for _, f := range fields[11:13] { // utime and stime (proc(5)), of which there are 100 a second
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return ticks / 100
}
