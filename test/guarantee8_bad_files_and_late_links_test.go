package test

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 8: fails safe.
// A provider's file that cannot be used closes its route and nothing else: its names
// and what was learned stay closed, other names go on, and the file that is put right
// is applied.
func TestBadProviderFileClosesItsRouteOnly(t *testing.T) {
	t.Parallel()
	for _, c := range badFiles {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, netlab.Setup{})
			learned := g.resolve("www.listed.example")
			g.wantVia(g.Client, netlab.ViaVPN, learned...)
			if err := g.p.Stop(); err != nil {
				t.Error(err)
			}
			// The last good file is lost with the state, as on a router that keeps it in memory.
			g.Box.Run("rm", "-r", g.Box.State())
			good := g.WireGuardConf()
			g.Box.Write("wg0.conf", c.spoil(good))
			g.p = g.Box.StartProduct(binary, "run")
			g.logs(g.p)
			g.Reset()
			g.wantVia(g.Client, netlab.ViaWAN, g.resolve("www.other.example")...)
			if _, err := g.lookup(g.Client, "fresh.listed.example", dns.TypeA, "udp"); err == nil {
				t.Error("a listed name is answered; want its route closed")
			}
			g.wantClosed(g.Client, learned...)
			g.wantClosed(g.Box.Host, learned...)
			g.wantNoneClear(learned...)
			g.wantNoQueryByWAN("listed.example")
			g.wantCheck(9, append(c.say, "route vpn stays down")...)
			g.wantNoHook()

			g.Box.Write("wg0.conf", good)
			g.Box.AwaitNames("again.listed.example", 10*time.Second)
			g.awaitVia(g.Client, netlab.ViaVPN, 5*time.Second, learned...)
			g.wantNoneClear(learned...)
		})
	}
}

// A later start goes on with the file that worked last.
func TestBadProviderFileAfterAGoodOne(t *testing.T) {
	t.Parallel()
	for _, c := range badFiles {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, netlab.Setup{})
			if err := g.p.Stop(); err != nil {
				t.Error(err)
			}
			g.Box.Write("wg0.conf", c.spoil(g.WireGuardConf()))
			g.Reset()
			g.start()
			addrs := g.resolve("www.listed.example")
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			g.wantNoneClear(addrs...)
			g.wantNoQueryByWAN("listed.example")
			g.wantNoHook()
			for _, say := range c.say {
				g.p.WaitOutput(say, 10*time.Second)
			}
			g.wantCheck(9, c.say...)
		})
	}
}

// badFiles are what is done to a provider's file, and what is reported of it.
var badFiles = []struct {
	name  string
	spoil func(conf string) string
	say   []string
}{
	{"malformed", func(conf string) string { return strings.Replace(conf, "[Peer]", "[Pear]", 1) }, []string{"wg0.conf:6", "[Pear]"}},
	{"bad key", func(conf string) string { return strings.Replace(conf, "PrivateKey = ", "PrivateKey = x", 1) }, []string{"wg0.conf:2", "PrivateKey"}},
	{
		"hook commands",
		func(conf string) string {
			return strings.Replace(conf, "[Peer]", "PostUp = touch /run/hooked\n[Peer]", 1)
		},
		[]string{"wg0.conf:6", "PostUp", "hooks: ignore"},
	},
}

func (g *gate) wantNoHook() {
	g.t.Helper()
	if _, err := g.Box.Exec("test", "-e", "/run/hooked"); err == nil {
		g.t.Error("a hook command was run")
	}
}

// wantCheck runs `check` beside the running nameroute and wants an exit code, and one
// line of what is wrong that has all the words.
func (g *gate) wantCheck(code int, words ...string) {
	g.t.Helper()
	out, err := g.Box.Exec(append([]string{binary, "check"}, g.Box.Flags()...)...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		g.t.Errorf("check ended with %v, want exit code %d", err, code)
	}
	for line := range strings.Lines(out) {
		has := strings.HasPrefix(line, "error")
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			return
		}
	}
	g.t.Errorf("check says no line with all of %q:\n%s", words, out)
}

// Hook commands that the user has looked at are accepted, and still not run.
func TestIgnoredHooks(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	conf := g.Tunnel.Conf(netlab.ConfOptions{Interface: "PostUp = touch /run/hooked\nPreDown = touch /run/hooked\nTable = 1234\nFwMark = 0x99"})
	g.Box.WriteFiles(netlab.Setup{Conf: conf, Route: "hooks: ignore"})
	g.start()
	addrs := g.resolve("www.listed.example")
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	g.wantNoneClear(addrs...)
	g.wantNoHook()
	if out := g.Box.Run("wg", "show", "wg0", "fwmark"); strings.TrimSpace(out) != "0x7f000000" {
		t.Errorf("FwMark of the file was used: %s", out)
	}
	if out, err := g.Box.Exec("ip", "route", "show", "table", "1234"); err == nil && strings.TrimSpace(out) != "" {
		t.Errorf("Table of the file was used: %s", out)
	}
}

// A router that starts before its modem: no WAN yet, and all works by itself once it
// is there.
func TestNoWANYet(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Conf: g.Tunnel.Conf(netlab.ConfOptions{Endpoint: g.Tunnel.Domain})})
	g.WANDown()
	g.p = g.Box.Launch(binary, quickDown...)
	g.logs(g.p)
	g.p.WaitOutput("nameroute: started", 10*time.Second)
	for _, name := range []string{"early.listed.example", "early.other.example"} {
		if reply, err := g.Client.Query(newQuery(name), "udp"); err == nil && reply.Rcode == dns.RcodeSuccess {
			t.Errorf("%s: answered without a WAN: %v", name, reply)
		}
	}
	if g.p.Ended() {
		t.Fatal("it ended without a WAN")
	}
	began := time.Now()
	g.WANUp()
	g.Box.AwaitNames("other.example", 10*time.Second)
	t.Logf("other names are answered %v after the WAN came", time.Since(began).Round(time.Millisecond))
	g.Box.AwaitNames("ready.listed.example", 10*time.Second)
	t.Logf("listed names are answered %v after the WAN came", time.Since(began).Round(time.Millisecond))
	addrs := g.resolve("www.listed.example")
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("www.other.example")...)
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// An interface of the LAN that is plugged in later is served from then on, and one
// that is not of the LAN is not.
func TestLANInterfaceComesLater(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	text := g.Box.Run("cat", g.Box.Dir+"/gateway.yaml")
	g.Box.Write("gateway.yaml", strings.Replace(text, "lan: [br-lan]", "lan: [br-lan, guest0]", 1))
	g.start()
	g.Reset()
	for n, c := range []struct {
		link string
		want bool
	}{{"guest0", true}, {"other0", false}} {
		guest := netlab.NewNamespace(t, c.link)
		netlab.Cable(guest, "eth0", g.Box.Namespace, c.link)
		at := netip.MustParseAddr(fmt.Sprintf("192.168.%d.1", 90+n))
		g.Box.IP(fmt.Sprintf("addr add %s/24 dev %s", at, c.link))
		guest.IP(fmt.Sprintf("addr add 192.168.%d.2/24 dev eth0", 90+n), "route add default via "+at.String())
		for _, how := range []string{"+notcp", "+tcp"} {
			name := fmt.Sprintf("%s%s.listed.example", c.link, how[1:])
			want := g.World.Addresses(name).V4
			if err := netlab.Poll(backWithin, func() error {
				out, err := guest.Exec("dig", "+tries=2", "+time=1", how, "+short", "@"+at.String(), name, "A")
				answered := err == nil && out == want.String()+"\n"
				return netlab.Check(answered == c.want, "dig %s from behind %s: %q, %v; want an answer: %v", how, c.link, out, err, c.want)
			}); err != nil {
				t.Error(err)
			}
			if c.want {
				g.wantLearned("vpn", want)
				out, err := guest.Exec("curl", "--silent", "--max-time", "30", fmt.Sprintf("http://%s/", want))
				if from := fmt.Sprintf("from %s:", g.Tunnel.Exit.V4); err != nil || !strings.HasPrefix(out, from) {
					t.Errorf("from behind %s to a listed address: %q, %v; want it %s", c.link, out, err, from)
				}
				g.wantNoneClear(want)
			}
		}
	}
}
