package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantee 6: no bypass.
// The names of a content network are on no list, and clients query them directly: those that
// are aliases of a listed name follow it.
func TestAliasesOfListedNames(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	g.World.Add(
		"www.listed.example. 60 IN CNAME edge.cdn.example.",
		"edge.cdn.example. 60 IN CNAME host.pop.example.",
		"svc.listed.example. 60 IN HTTPS 1 origin.svc.example. alpn=h2",
		"alias.listed.example. 60 IN HTTPS 0 pool.svc.example.",
		"_x.listed.example. 60 IN SVCB 1 target.svcb.example. port=8443",
	)
	aliases := []string{"edge.cdn.example", "host.pop.example", "origin.svc.example", "pool.svc.example", "target.svcb.example"}
	near := []string{"other.cdn.example", "cdn.example", "www.edge.cdn.example", "pop.example", "svc.example"}

	for _, name := range aliases { // not before an answer has named them
		g.wantVia(g.Client, netlab.ViaWAN, g.resolve(name)...)
	}
	g.Settle() // the last packets of connections that are older than the listing
	g.Reset()
	g.query("www.listed.example", dns.TypeA, "udp")
	g.query("svc.listed.example", dns.TypeHTTPS, "tcp")
	g.query("alias.listed.example", dns.TypeHTTPS, "udp6")
	g.query("_x.listed.example", dns.TypeSVCB, "tcp6")
	for _, name := range aliases {
		addrs := g.resolve(strings.ToUpper(name[:3]) + name[3:])
		g.wantVia(g.Client, netlab.ViaVPN, addrs...)
		g.wantNoneClear(addrs...)
		g.wantAsked(netlab.ViaVPN, g.World.Queries(name))
	}
	g.Reset()
	for _, name := range near {
		g.wantVia(g.Client, netlab.ViaWAN, g.resolve(name)...)
		g.wantAsked(netlab.ViaWAN, g.World.Queries(name))
	}
}

// What another program has written down stays where it was put, whatever answer points to it.
func TestEntriesAndExceptionsWinOverAliases(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, Tunnels: 2})
	g.Box.WriteFiles(netlab.Setup{})
	g.Box.Write("wg1.conf", g.Tunnels[1].Conf(netlab.ConfOptions{}))
	g.Box.Write("first.txt", "[AutoProxy 0.2.9]\n||listed.example\n@@||kept.example\n||both.example\n")
	g.Box.Write("second.txt", "second.example\n")
	g.Box.Write("gateway.yaml", `lan: [br-lan]
routes:
  vpn: {wireguard: wg0.conf}
  two: {wireguard: wg1.conf}
lists:
  first: {file: first.txt}
  second: {file: second.txt}
`)
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    listed first
    route vpn
    cache
    upstream vpn %[1]s
}
. {
    listed second
    route two
    cache
    upstream two %[1]s
}
. {
    cache
    upstream wan %[2]s
}
`, g.Plan.World.V4, g.Plan.ISP.V4))
	g.start()
	g.Box.AwaitNames("ready.second.example", 5*time.Second)
	g.World.Add(
		"a.listed.example. 60 IN HTTPS 1 www.kept.example. alpn=h2",
		"b.listed.example. 60 IN HTTPS 1 www.second.example. alpn=h2",
		"c.second.example. 60 IN HTTPS 1 www.both.example. alpn=h2",
		"d.listed.example. 60 IN HTTPS 1 led.cdn.example. alpn=h2",
		"e.second.example. 60 IN HTTPS 1 led2.cdn.example. alpn=h2",
	)
	for _, name := range []string{"a.listed.example", "b.listed.example", "c.second.example", "d.listed.example", "e.second.example"} {
		g.query(name, dns.TypeHTTPS, "udp")
	}
	g.Reset()
	for name, want := range map[string]netlab.Egress{
		"www.kept.example":   netlab.ViaWAN,       // an exception of the first list
		"www.second.example": netlab.ViaTunnel(1), // an entry of the second
		"www.both.example":   netlab.ViaVPN,       // an entry of the first
		"led.cdn.example":    netlab.ViaVPN,       // on no list: follows the name that points to it
		"led2.cdn.example":   netlab.ViaTunnel(1),
	} {
		addrs := g.resolve(name)
		g.wantVia(g.Client, want, addrs...)
		g.wantAsked(want, g.World.Queries(name))
		if want != netlab.ViaWAN {
			g.wantNoneClear(addrs...)
		}
	}
}

// Aliases survive whatever happens to the process.
func TestAliasesSurvive(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	corefile, err := os.ReadFile(filepath.Join(g.Box.Dir, "Corefile"))
	if err != nil {
		t.Fatal(err)
	}
	change := func(i int) { g.Box.Write("Corefile", fmt.Sprintf("%s# change %d\n", corefile, i)) }
	reload := func() { g.Box.Run(append([]string{binary, "reload"}, g.Box.Flags()...)...) }
	for i, event := range []struct {
		what string
		do   func(i int)
	}{
		{"nothing", func(int) {}},
		{"SIGHUP", func(int) {
			g.p.Signal(unix.SIGHUP)
			g.p.WaitOutput("reload complete", 5*time.Second)
		}},
		{"reload", func(int) { reload() }},
		{"reload of a changed Corefile", func(i int) { change(i); reload() }},
		{"restart", func(int) {
			if err := g.p.Stop(); err != nil {
				t.Error(err)
			}
			g.start()
		}},
		{"crash", func(i int) {
			g.awaitJournal(fmt.Sprintf("led%d.cdn.example", i))
			g.p.Kill()
			g.start()
		}},
		{"crash, new Corefile and restart", func(i int) {
			g.awaitJournal(fmt.Sprintf("led%d.cdn.example", i))
			g.p.Kill()
			change(i)
			g.start()
		}},
	} {
		alias := fmt.Sprintf("led%d.cdn.example", i)
		g.World.Add(fmt.Sprintf("www%d.listed.example. 60 IN CNAME %s.", i, alias))
		g.query(fmt.Sprintf("www%d.listed.example", i), dns.TypeA, "udp")
		event.do(i)
		g.Reset()
		addrs := g.resolve(alias)
		g.wantVia(g.Client, netlab.ViaVPN, addrs...)
		g.wantNoneClear(addrs...)
		g.wantAsked(netlab.ViaVPN, g.World.Queries(alias))
		if t.Failed() {
			t.Fatalf("after %s", event.what)
		}
	}
}

// awaitJournal waits until an alias of a listed name is on disk, where it is written
// each 100 ms.
func (g *gate) awaitJournal(name string) {
	g.t.Helper()
	file := filepath.Join(g.Box.State(), "names")
	netlab.Eventually(g.t, 3*time.Second, func() error {
		text, err := os.ReadFile(file)
		return netlab.Check(err == nil && strings.Contains(string(text), name), "%s is not in %s, %v", name, file, err)
	})
}
