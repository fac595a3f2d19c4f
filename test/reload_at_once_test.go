package test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// Reloads are requested from all sides at once, again and again: SIGHUP, changed files, `nameroute
// reload` and CoreDNS's reload plugin. They share one path: no query is lost, and
// nothing is left over afterwards.
func TestReloadsAtOnce(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Plugins: "reload 2s 0s\nprometheus 127.0.0.1:9153"})
	corefile, config := g.read("Corefile"), g.read("gateway.yaml")
	warm := func(n int) {
		g.Box.Write("Corefile", fmt.Sprintf("%s# warm %d\n", corefile, n))
		g.nameroute("reload")
	}
	for n := range 3 {
		warm(n)
	}
	fds, goroutines := g.held()
	addrs := g.resolve("www.listed.example")
	g.Reset()
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	listed, others := g.ask("listed.example"), g.ask("other.example")
	storm := &flood{stopped: make(chan struct{})}
	var asked, refused atomic.Int64
	each := func(pause time.Duration, do func(n int)) {
		n := 0
		storm.repeat(func() { n++; do(n); time.Sleep(pause) })
	}
	each(30*time.Millisecond, func(int) { g.p.Signal(unix.SIGHUP) })
	each(90*time.Millisecond, func(n int) { g.Box.Write("Corefile", fmt.Sprintf("%s# %d\n", corefile, n)) })
	each(110*time.Millisecond, func(n int) { g.Box.Write("gateway.yaml", fmt.Sprintf("%s# %d\n", config, n)) })
	for range 2 {
		each(0, func(int) {
			asked.Add(1)
			if out, err := g.Box.Exec(append([]string{binary, "reload"}, g.Box.Flags()...)...); err != nil {
				refused.Add(1)
				t.Errorf("reload: %v: %s", err, out)
			}
		})
	}
	t.Cleanup(storm.end)
	time.Sleep(4500 * time.Millisecond) // two ticks of the plugin fall into the storm
	netlab.Eventually(t, 20*time.Second, func() error {
		n := strings.Count(g.p.Output(), "Reloading complete")
		return netlab.Check(n >= 10, "only %d restarts: that proves nothing", n)
	})
	storm.end()
	listed.wantAllAnswered(g)
	others.wantAllAnswered(g)
	flows.wantProgress()
	warm(4)
	restarts := strings.Count(g.p.Output(), "Reloading complete")
	t.Logf("%d times `nameroute reload`, %d restarts, %d and %d queries", asked.Load(), restarts, listed.answered.Load(), others.answered.Load())
	g.wantHeld(fds, goroutines)
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
	for _, wrong := range []string{"reload failed", "Restart failed"} {
		if strings.Contains(g.p.Output(), wrong) {
			t.Errorf("the log has %q", wrong)
		}
	}
}

// CoreDNS's reload plugin in a Corefile that turns wrong: all goes on, the file is
// refused once, its metrics tell, and the mended file is applied.
func TestReloadPluginWithAWrongFile(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Plugins: "reload 2s 0s\nprometheus 127.0.0.1:9153"})
	corefile := g.read("Corefile")
	listed := g.ask("listed.example")
	g.Box.Write("Corefile", strings.Replace(corefile, "route vpn", "route vnp", 1))
	g.p.WaitOutput(`did you mean \"vpn\"?`, 10*time.Second)
	time.Sleep(4500 * time.Millisecond) // two ticks of the plugin
	if n := strings.Count(g.p.Output(), "reload failed, keeping"); n != 1 {
		t.Errorf("a wrong file is refused %d times, want once", n)
	}
	awaitMetric := func(name string, labels ...string) {
		t.Helper()
		netlab.Eventually(t, 30*time.Second, func() error {
			_, page, err := g.get(9153, "/metrics")
			n, _ := metric(t, page, name, labels...)
			return netlab.Check(err == nil && n == 1, "%s %v, %v; want 1", name, n, err)
		})
	}
	awaitMetric("coredns_reload_failed_total")
	g.Box.Write("Corefile", corefile+"# mended\n")
	g.p.WaitOutput("reload complete", 10*time.Second)
	listed.wantAllAnswered(g)
	awaitMetric("coredns_reload_version_info", `hash="sha512"`)
}

// A file that the Corefile imports is the Corefile, too: its change is noticed and
// applied, what is wrong in it is told with its own file and line, and the last good state
// has what it held.
func TestReloadOfImports(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Plugins: "import conf.d/*.conf"})
	g.Box.Write("conf.d/a.conf", "errors\n")
	chaos := func(name, version string) {
		g.Box.Write("conf.d/"+name, "# who runs\nchaos "+version+"\n")
	}
	g.start()
	addrs := g.resolve("www.listed.example")
	listed := g.ask("listed.example")
	version := func() string {
		m := newQuery("version.bind")
		m.Question[0].Qtype, m.Question[0].Qclass = 16, 3 // TXT CH
		reply, err := g.Client.Query(m, "udp")
		if err != nil || len(reply.Answer) != 1 {
			return ""
		}
		return strings.Trim(reply.Answer[0].String()[strings.LastIndex(reply.Answer[0].String(), "\t")+1:], `"`)
	}
	await := func(want string) {
		t.Helper()
		netlab.Eventually(t, 5*time.Second, func() error {
			got := version()
			return netlab.Check(got == want, "version %q, want %q", got, want)
		})
	}
	chaos("b.conf", "one") // a file that the pattern did not match before
	await("one")
	chaos("b.conf", "two")
	await("two")
	g.Box.Write("conf.d/b.conf", "# who runs\nchoas three\n")
	g.p.WaitOutput("conf.d/b.conf:2 - Error during parsing: Unknown directive 'choas': did you mean chaos?", 10*time.Second)
	g.hangUp("conf.d/b.conf:2")
	await("two")
	listed.wantAllAnswered(g)
	if err := g.p.Stop(); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	g.start() // with what last worked
	await("two")
	if !strings.Contains(g.p.Output(), "running the last good configuration") || !strings.Contains(g.p.Output(), "conf.d/b.conf:2") {
		t.Errorf("the log does not say why the last good configuration is in use:\n%s", g.p.Output())
	}
	g.stop(g.p)
	if !strings.Contains(g.p.Output(), "stopped while the last good configuration was in use, not the current files") {
		t.Errorf("the end of the log does not say that the last good configuration was in use:\n%s", g.p.Output())
	}
	g.start()
	chaos("b.conf", "four")
	await("four")
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	if err := os.Remove(g.Box.Dir + "/conf.d/b.conf"); err != nil {
		t.Fatal(err)
	}
	await("")
}

// held is what nameroute holds: open files and goroutines.
func (g *gate) held() (fds, goroutines int) {
	g.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.p.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	_, page, err := g.get(9153, "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	var n int
	for line := range strings.Lines(page) {
		_, _ = fmt.Sscanf(line, "go_goroutines %d", &n)
	}
	if n == 0 {
		g.t.Fatal("/metrics has no go_goroutines")
	}
	return len(open), n
}

// wantHeld waits until nameroute holds no more than it did, but for some that come and go.
func (g *gate) wantHeld(fds, goroutines int) {
	g.t.Helper()
	const more = 12
	if err := netlab.Poll(30*time.Second, func() error {
		f, r := g.held()
		return netlab.Check(f <= fds+more && r <= goroutines+more, "open files %d, before %d; goroutines %d, before %d", f, fds, r, goroutines)
	}); err != nil {
		g.t.Error(err)
	}
}
