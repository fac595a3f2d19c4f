package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// stateFiles is what a nameroute keeps on disk.
var stateFiles = []string{"learned", "names", "sysctl.json", "good/gateway.yaml", "good/Corefile", "lists/compiled.index"}

// Guarantee 8: fails safe.
// What is in the state directory and cannot be used is renamed to .bad with one message, and
// packets, answers and both families go on.
func TestDamagedState(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, NotRouting: true})
	g.Box.WriteFiles(netlab.Setup{})
	g.World.Add("www.listed.example. 300 IN CNAME edge.cdn.example.")
	g.start()
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	state := g.Box.State()
	g.Reset()
	opened := g.flood(netlab.ViaVPN, addrs...)
	for _, c := range []struct {
		name  string
		spoil string   // what is done to each file
		bad   []string // files that are to be renamed to .bad, each with one line in the log
		as    []string // runs the product by this command
	}{
		{"cut short", `truncate -s -7 "$f"`, []string{"learned", "compiled.index"}, nil},
		{"of a newer version", `{ echo nameroute state 99; head -c 1000 /dev/urandom; } >"$f"`, []string{"learned", "names", "compiled.index"}, nil},
		{"empty", `: >"$f"`, []string{"learned", "compiled.index"}, nil},
		{"folders", `rm "$f"; mkdir -p "$f/sub"`, []string{"learned", "names", "compiled.index", "sysctl.json"}, nil},
		{"pipes", `rm "$f"; mkfifo "$f"`, []string{"learned", "names", "compiled.index", "sysctl.json"}, nil},
		{
			"another user's", `chown 12345 "$f"; chmod 600 "$f"`, []string{"learned", "names", "compiled.index", "sysctl.json"},
			[]string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"},
		},
	} {
		g.stop(g.p)
		for _, f := range stateFiles {
			f = filepath.Join(state, f)
			g.Box.Sh(`f=` + f + `; rm -rf "$f.bad"; [ -e "$f" ] || : >"$f"; ` + c.spoil)
		}
		began := time.Now()
		g.p = g.Box.StartEnv(g.Box.Env(), append(append(c.as, binary, "run"), g.Box.Flags()...)...)
		g.logs(g.p)
		g.Box.AwaitDNS(g.p, 15*time.Second)
		g.Box.AwaitNames("again.listed.example", 10*time.Second)
		flows.wantProgress()
		tcp, udp := flows.worst()
		t.Logf("%s: all answers again after %v; longest gap over TCP %v, over UDP %v", c.name, time.Since(began).Round(time.Millisecond), tcp, udp)
		flows.resetGap()
		for _, f := range c.bad {
			if err := netlab.Poll(30*time.Second, func() error {
				n := linesWith(g.p.Output(), "/"+f, ".bad")
				return netlab.Check(n == 1, "%s: %d lines say that %s is renamed to .bad, want 1:\n%s", c.name, n, f, g.p.Output())
			}); err != nil {
				t.Error(err)
			}
		}
		if now := g.Box.Run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); now != "1\n1\n" {
			t.Errorf("%s: forwarding: %s", c.name, now)
		}
		g.resolve("www.listed.example") // the journal that was renamed to .bad had its alias
		g.wantVia(g.Client, netlab.ViaVPN, g.resolve("edge.cdn.example")...)
		g.wantVia(g.Client, netlab.ViaWAN, g.resolve("www.other.example")...)
	}
	g.stop(g.p)
	for f, want := range map[string]string{"learned": addrs[1].String(), "names": "edge.cdn.example."} {
		if data, err := os.ReadFile(filepath.Join(state, f)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s is not stored again: %q, %v", f, data, err)
		}
	}
	t.Logf("%d new flows meanwhile", opened.stop(g))
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// linesWith counts the lines that hold all of the words.
func linesWith(text string, words ...string) (n int) {
	for line := range strings.Lines(text) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			n++
		}
	}
	return n
}

// Guarantee 8: fails safe.
// A disk that is full, or takes nothing at all, costs what a restart would remember,
// and nothing else: starts, reloads and answers go on. Each trouble is logged once, and
// when there is room all is stored.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fill, free string
		start            bool // the disk is full when the process starts
	}{
		{"full", "dd if=/dev/zero of=$state/filler bs=4k 2>/dev/null || :", "rm $state/filler", false},
		{"full at the start", "dd if=/dev/zero of=$state/filler bs=4k 2>/dev/null || :", "rm $state/filler", true},
		{"read-only", "mount -o remount,ro $state", "mount -o remount,rw $state", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true, NotRouting: true})
			g.Box.WriteFiles(netlab.Setup{})
			g.World.Add("www.listed.example. 300 IN CNAME edge.cdn.example.")
			state := g.Box.State()
			sh := func(script string) { g.Box.Sh("state=" + state + "; " + script) }
			sh("mkdir -p $state; mount -t tmpfs -o size=512k tmpfs $state")
			if c.start {
				sh(c.fill)
			}
			g.start()
			addrs := g.resolve("before.listed.example")
			flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
			g.Reset()
			listed, others := g.ask("listed.example"), g.ask("other.example")
			if !c.start {
				sh(c.fill)
			}
			addrs = append(addrs, g.resolve("www.listed.example")...)
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			if now := g.Box.Run("sysctl", "-n", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"); now != "1\n1\n" {
				t.Errorf("forwarding: %s", now)
			}
			// A list, gateway.yaml and the Corefile are changed, and applied.
			g.Box.Write("mine.txt", "listed.example\nnewly.example\n")
			g.awaitListed("newly.example")
			text := g.Box.Run("cat", g.Box.Dir+"/gateway.yaml")
			g.Box.Write("gateway.yaml", text+"# another comment\n")
			g.nameroute("reload")
			text = g.Box.Run("cat", g.Box.Dir+"/Corefile")
			g.Box.Write("Corefile", strings.Replace(text, "    cache\n", "    cache 600\n", 1))
			g.nameroute("reload")
			addrs = append(addrs, g.resolve("after.listed.example")...)
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)

			g.p.WaitOutput("aliases cannot be stored", 30*time.Second)
			full := g.p.Output()
			for _, what := range []string{"aliases cannot be stored", "what sysctls"} {
				if n := linesWith(full, what); n > 1 {
					t.Errorf("%d lines say: %s", n, what)
				}
			}
			if n := linesWith(full, "aliases cannot be stored"); n != 1 {
				t.Errorf("%d lines say that names cannot be stored", n)
			}
			if n := linesWith(full, "reload failed, keeping"); n != 0 {
				t.Errorf("files were refused:\n%s", full)
			}
			sh(c.free)
			freed := time.Now()
			g.p.WaitOutput("aliases are stored again", 10*time.Second)
			t.Logf("names are stored again %v after there was room", time.Since(freed).Round(time.Millisecond))
			listed.wantAllAnswered(g)
			others.wantAllAnswered(g)
			flows.wantProgress()
			tcp, udp := flows.worst()
			t.Logf("longest gap over TCP %v, over UDP %v; %d lines in the log", tcp, udp, strings.Count(g.p.Output(), "\n"))
			g.stop(g.p)
			for file, want := range map[string]string{"learned": addrs[0].String(), "names": "edge.cdn.example."} {
				if data := g.Box.Run("cat", state+"/"+file); !strings.Contains(data, want) {
					t.Errorf("%s does not hold %s: %q", file, want, data)
				}
			}
			g.wantNoneClear(addrs...)
			g.wantNoQueryByWAN("listed.example")
		})
	}
}
