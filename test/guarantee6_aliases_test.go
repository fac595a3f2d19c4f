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
		"_xmpp._tcp.listed.example. 60 IN SRV 5 0 5222 host.srv.example.",
		"mail.listed.example. 60 IN MX 10 host.mx.example.",
		`phone.listed.example. 60 IN NAPTR 10 10 "s" "SIP+D2U" "" _sip._udp.naptr.example.`,
		`phone.listed.example. 60 IN NAPTR 20 10 "u" "E2U+sip" "!^.*$!sip:me@host.naptr.example!" .`,
		`uri.listed.example. 60 IN URI 10 1 "https://me@host.uri.example:8443/x"`,
		"dnssd.listed.example. 60 IN PTR host.ptr.example.",
		"tree.listed.example. 60 IN DNAME tree.dname.example.",
	)
	// A resolver need not make the CNAME of a DNAME for one that knows DNAME.
	target := g.World.Addresses("www.tree.dname.example")
	g.World.Behave("www.tree.listed.example", netlab.Behavior{Forge: func(m *dns.Msg) {
		m.Answer = []dns.RR{rrOf(t, "tree.listed.example. 60 IN DNAME tree.dname.example."), rrOf(t, "www.tree.dname.example. 60 IN A %s", target.V4)}
	}})
	aliases := []string{
		"edge.cdn.example", "host.pop.example", "origin.svc.example", "pool.svc.example", "target.svcb.example", "host.srv.example",
		"host.mx.example", "_sip._udp.naptr.example", "host.naptr.example", "host.uri.example", "host.ptr.example", "tree.dname.example", "www.tree.dname.example",
	}
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
	g.query("_xmpp._tcp.listed.example", dns.TypeSRV, "udp")
	g.query("mail.listed.example", dns.TypeMX, "udp")
	g.query("phone.listed.example", dns.TypeNAPTR, "udp")
	g.query("uri.listed.example", dns.TypeURI, "udp")
	g.query("dnssd.listed.example", dns.TypePTR, "udp")
	g.query("tree.listed.example", dns.TypeDNAME, "udp")
	if m := g.query("www.tree.listed.example", dns.TypeA, "udp"); len(m.Answer) != 3 {
		t.Errorf("a DNAME without its CNAME:\n%s", m)
	}
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

// Guarantee 6: no bypass.
// A client floods names of a listed domain, each with an alias of its own. The aliases of
// others stay, and no name of the flood that is answered leads to one that is queried via
// the WAN.
func TestFloodOfAliases(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	g.Box.Write("Corefile", strings.Replace(g.read("Corefile"), "listed mine", "listed mine {\n        new_aliases 1 30\n    }", 1))
	g.start()
	g.World.Add("www.listed.example. 60 IN HTTPS 1 first.cdn.example.")
	g.query("www.listed.example", dns.TypeHTTPS, "udp")
	const flood = 60
	g.World.Behave("flood.listed.example", netlab.Behavior{Forge: func(m *dns.Msg) {
		name := m.Question[0].Name
		m.Answer = []dns.RR{rrOf(t, "%s 60 IN CNAME to-%scdn.example.", name, name), rrOf(t, "to-%scdn.example. 60 IN A %s", name, g.World.Addresses("flood.cdn.example").V4)}
	}})
	g.Reset()
	answered := 0
	for i := range flood {
		name := fmt.Sprintf("n%d.flood.listed.example", i)
		if _, err := g.lookup(g.Client, name, dns.TypeA, "udp"); err == nil {
			answered++
			g.resolve("to-" + name + ".cdn.example")
		}
	}
	if answered != 29 {
		t.Errorf("%d of %d names are answered, want 29: 30 aliases are allowed, one there was", answered, flood)
	}
	g.resolve("first.cdn.example")
	g.wantAsked(netlab.ViaVPN, g.World.Queries("cdn.example"))
	g.wantNoQueryByWAN("cdn.example")
	g.p.WaitOutput("the client brings in more aliases than new_aliases allows", 5*time.Second)
}
