package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// SIGHUP applies a new entry and a new Corefile while queries are sent; not one of them is
// lost.
func TestReloadLosesNoQuery(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	before := g.resolve("before.new.example")
	g.wantVia(g.Client, netlab.ViaWAN, before...)
	g.Reset()
	listed, others := g.ask("listed.example"), g.ask("other.example")
	corefile := g.read("Corefile")
	for n := range 6 {
		if n%2 == 0 {
			g.Box.Write("mine.txt", fmt.Sprintf("listed.example\nnew.example\nnew%d.example\n", n))
		} else {
			g.Box.Write("Corefile", corefile+fmt.Sprintf("# %d\n", n))
		}
		g.hangUp("reload complete")
		time.Sleep(100 * time.Millisecond)
	}
	listed.wantAllAnswered(g)
	others.wantAllAnswered(g)
	for _, name := range []string{"www.new.example", "www.new0.example", "www.new4.example"} {
		if name == "www.new0.example" {
			g.wantVia(g.Client, netlab.ViaWAN, g.resolve(name)...) // on the list only for a while
			continue
		}
		g.wantVia(g.Client, netlab.ViaVPN, g.resolve(name)...)
		g.wantNoQueryByWAN(name)
	}
	flows.wantProgress()
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v", tcp, udp)
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// Files that are wrong are not applied: all goes on as it was, and both the log and
// `nameroute reload` say what is wrong and where.
func TestReloadRefusesWrongFiles(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	g.wantSettledTable()
	state := g.kernelState()
	good := map[string]string{"gateway.yaml": g.read("gateway.yaml"), "Corefile": g.read("Corefile"), "mine.txt": g.read("mine.txt")}
	g.Reset()
	asking := g.ask("other.example")
	for _, c := range []struct{ file, text, why string }{
		{"gateway.yaml", "rutes:\n" + good["gateway.yaml"], "gateway.yaml:1:1: rutes: unknown key: did you mean routes?"},
		{"gateway.yaml", strings.ReplaceAll(good["gateway.yaml"], "vpn:", "office:"), `unknown route "vpn"`},
		{"gateway.yaml", strings.ReplaceAll(good["gateway.yaml"], "on_down: block", "on_down: blok"), "did you mean block?"},
		{"gateway.yaml", "\t", "gateway.yaml:1"},
		{"Corefile", strings.Replace(good["Corefile"], "route vpn", "route vnp", 1), `unknown route "vnp": did you mean "vpn"?`},
		{"Corefile", strings.Replace(good["Corefile"], "listed mine", "listed mien", 1), `unknown list "mien": did you mean "mine"?`},
		{"Corefile", strings.Replace(good["Corefile"], "cache", "cash", 1), "cash"},
		{"Corefile", "", "Corefile: no server block"},
		{"mine.txt", "!!! ???\n", "mine.txt"},
	} {
		g.Box.Write(c.file, c.text)
		g.hangUp(c.why)
		if out, err := g.Box.Exec(append([]string{binary, "reload"}, g.Box.Flags()...)...); err == nil || !strings.Contains(out, c.why) {
			t.Errorf("%s: reload said %q, %v; want an error with %q", c.file, out, err, c.why)
		}
		if g.p.Ended() {
			t.Fatalf("%s: nameroute ended", c.file)
		}
		g.wantVia(g.Client, netlab.ViaVPN, g.resolve("www.listed.example")...)
		g.wantSame("with a wrong "+c.file, state, g.kernelState())
		g.Box.Write(c.file, good[c.file])
		g.hangUp("reload complete")
	}
	flows.wantProgress()
	asking.wantAllAnswered(g)
	g.wantSettledTable()
	g.wantSame("after all", state, g.kernelState())
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// read returns a file of the box.
func (g *gate) read(name string) string {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.Box.Dir, name))
	if err != nil {
		g.t.Fatal(err)
	}
	return string(text)
}

// hangUp sends SIGHUP and waits until nameroute says something new.
func (g *gate) hangUp(want string) {
	g.t.Helper()
	logged := len(g.p.Output())
	g.p.Signal(unix.SIGHUP)
	if err := netlab.Poll(30*time.Second, func() error {
		log := strings.ReplaceAll(g.p.Output()[logged:], `\"`, `"`)
		return netlab.Check(strings.Contains(log, want), "after SIGHUP the log lacks %q; it has:\n%s", want, log)
	}); err != nil {
		g.t.Error(err)
	}
}
