package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// plainCorefile has none of our plugins.
const plainCorefile = ".:5399 {\n    bind 127.0.0.1\n    hosts {\n        192.0.2.9 box.example\n    }\n}\n"

// A Corefile that needs nothing of the dataplane starts, and may need it later, and then
// no more: without its blocks, the table is not changed.
func TestCorefileWithoutOurPlugins(t *testing.T) {
	t.Parallel()
	b := newBench(t, map[string]string{"Corefile": plainCorefile})
	p := b.Start(b.command("run")...)
	p.WaitOutput("nameroute: started", 10*time.Second)
	if out := b.Sh("nft list tables"); strings.Contains(out, "nameroute") {
		t.Errorf("a table that no block needs: %s", out)
	}
	reload := func(corefile string) {
		t.Helper()
		b.write("Corefile", corefile)
		if code, out := b.ends(b.command("reload")...); code != 0 {
			t.Fatalf("reload: exit code %d: %s", code, out)
		}
	}
	ours := strings.ReplaceAll(rightFiles["Corefile"], ". {", ".:5398 {\n    bind 127.0.0.1")
	reload(ours)
	if out := b.Sh("nft list table inet nameroute"); !strings.Contains(out, "5398") {
		t.Errorf("no table for the blocks: %s", out)
	}
	reload(plainCorefile)
	if out := b.Sh("nft list table inet nameroute"); !strings.Contains(out, "5398") {
		t.Errorf("the table of the last blocks is changed: %s", out)
	}
	reload(strings.ReplaceAll(ours, "5398", "5397"))
	netlab.Eventually(t, 5*time.Second, func() error {
		out := b.Sh("nft list table inet nameroute")
		return netlab.Check(strings.Contains(out, "5397") && !strings.Contains(out, "5398"), "listeners of blocks that have ended: %s", out)
	})
	if code, out := b.ends(b.command("down")...); code != 0 {
		t.Errorf("down: exit code %d: %s", code, out)
	}
	b.leftNothing()
}

// A block with a gateway.yaml of its own has the state directory of the process.
func TestSecondConfigHasTheSameState(t *testing.T) {
	t.Parallel()
	corefile := "second.example:5396 {\n    bind 127.0.0.1\n    listed others {\n        config second.yaml\n    }\n    hosts\n}\nsecond.example:5396 {\n    bind 127.0.0.1\n    hosts\n}\n"
	b := newBench(t, map[string]string{"Corefile": plainCorefile + corefile})
	b.write("others.txt", "others.example\n")
	b.write("second.yaml", "lists:\n  others:\n    file: "+b.dir+"/others.txt\n")
	b.write("Corefile", strings.ReplaceAll(plainCorefile+corefile, "second.yaml", b.dir+"/second.yaml"))
	p := b.Start(b.command("run")...)
	p.WaitOutput("nameroute: started", 10*time.Second)
	netlab.Eventually(t, 5*time.Second, func() error {
		_, err := os.Stat(filepath.Join(b.dir, "state", "lists", "others.list"))
		return err
	})
}

// Files that rename a route and whose Corefile cannot be served change nothing: the sets
// and what they hold stay.
func TestRefusedReloadKeepsTheSets(t *testing.T) {
	t.Parallel()
	corefile := strings.ReplaceAll(rightFiles["Corefile"], ". {", ".:5395 {\n    bind 127.0.0.1")
	b := newBench(t, map[string]string{"Corefile": corefile})
	p := b.Start(b.command("run")...)
	p.WaitOutput("nameroute: started", 10*time.Second)
	monitor := b.Start("nft", "monitor")
	netlab.Eventually(t, 5*time.Second, func() error { // until it has started
		b.Sh("nft add table inet seen; nft delete table inet seen")
		return netlab.Check(strings.Contains(monitor.Output(), "delete table inet seen"), "nft monitor: %s", monitor.Output())
	})
	awaitQuiet(monitor) // the links of a start come one by one
	before := len(monitor.Output())
	taken := b.Start("nc", "-l", "-k", "127.0.0.1", "5394")
	b.awaitPort(taken, 5394)
	b.write("gateway.yaml", strings.ReplaceAll(rightFiles["gateway.yaml"], "vpn:", "office:"))
	b.write("Corefile", strings.NewReplacer("vpn", "office", "5395", "5394").Replace(corefile))
	if code, out := b.ends(b.command("reload")...); code == 0 || !strings.Contains(out, "5394") {
		t.Errorf("exit code %d: %s", code, out)
	}
	b.Sh("nft add table inet last")
	monitor.WaitOutput("add table inet last", 5*time.Second)
	if out := monitor.Output()[before:]; strings.Contains(out, "inet nameroute") {
		t.Errorf("the table was changed:\n%s", out)
	}
}

// awaitQuiet returns when a process has printed nothing for a second, after 15 s at most.
func awaitQuiet(p *netlab.Process) {
	last, since := p.Output(), time.Now()
	for end := time.Now().Add(15 * time.Second); time.Since(since) < time.Second && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		if out := p.Output(); out != last {
			last, since = out, time.Now()
		}
	}
}
