package test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/dnsserver"
)

// A client that asks a resolver of its own choice is answered by us, from where it
// asked, unless the client or the resolver is excepted, or the resolver is on the LAN.
func TestRedirect(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	own := g.lanResolver("192.168.77.5", "fd77::5")
	const redirect = "redirect_dns:\n  except: [192.168.77.5, fd77::5, 30.8.8.8, \"2a0f:8::8\"]\n  dot: reject\n"
	g.Box.WriteFiles(netlab.Setup{Gateway: redirect})
	g.start()
	hard, excepted := g.Plan.World.All(), g.Plan.World2.All()
	flows := g.flows(g.Client, netlab.ViaVPN, g.resolve("flow.listed.example")...)
	g.Reset()

	g.wantRedirected("first", hard)
	// A client's own resolver is often the router before this box.
	g.wantRedirected("uplink", g.Plan.ISP.All())
	for _, a := range g.Plan.ISP.All() {
		g.wantDoT(a, false)
	}
	g.wantAskedAt(g.Client, "client", excepted)
	g.wantAskedAt(own, "own", hard)
	for _, at := range []string{"192.168.77.5", "fd77::5"} {
		for _, proto := range []string{"udp", "tcp"} {
			reply, err := g.Client.QueryAt(netip.AddrPortFrom(netip.MustParseAddr(at), 53), newQuery("www.listed.example"), proto)
			if err != nil || reply.Rcode != dns.RcodeNotImplemented {
				t.Errorf("the resolver on the LAN at %s over %s: %v, %v", at, proto, reply, err)
			}
		}
	}
	for _, a := range hard {
		g.wantDoT(a, false)
	}
	for _, a := range excepted {
		g.wantDoT(a, true)
	}

	// The resolver's own addresses become routed.
	for i, a := range hard {
		g.World.Add(fmt.Sprintf("resolver.listed.example. 60 IN %s %s", []string{"A", "AAAA"}[i], a))
	}
	if got := g.resolve("resolver.listed.example"); !slices.Equal(got, hard) {
		t.Fatalf("the resolver's addresses are %v, want %v", got, hard)
	}
	g.wantElements(true, hard...)
	g.wantRedirected("second", hard)
	for _, a := range hard {
		g.wantDoT(a, false)
	}
	g.wantVia(g.Client, netlab.ViaVPN, hard...)
	g.wantNoQueryByWAN("listed.example")
	g.awaitStatusSays("queries to other resolvers answered here")
	g.wantSettledTable()

	// Off and on again, while it runs, also for clients that ask from one port for ever.
	var fixed []func(name string, direct bool)
	for _, a := range hard {
		fixed = append(fixed, g.fixedPort(a))
	}
	ask := func(name string, direct bool) {
		for i, f := range fixed {
			f(fmt.Sprintf("%s%d.fixed.example", name, i), direct)
		}
	}
	ask("on", false)
	yaml := g.read("gateway.yaml")
	g.Box.Write("gateway.yaml", strings.Replace(yaml, redirect, "", 1))
	g.hangUp("reload complete")
	g.awaitAskedAt(hard[0], true)
	ask("off", true)
	g.wantAskedAt(g.Client, "off", hard)
	for _, a := range hard {
		g.wantDoT(a, true)
	}
	g.Box.Write("gateway.yaml", strings.Replace(yaml, redirect, "redirect_dns: on\n", 1))
	g.hangUp("reload complete")
	g.awaitAskedAt(hard[0], false)
	ask("again", false)
	g.wantRedirected("third", hard)
	g.wantVia(g.Client, netlab.ViaVPN, hard...)
	flows.wantProgress()
	for _, f := range flows.udp {
		f.conn.Close() // it would go via the WAN, and be right
	}
	g.nameroute("down")
	if out := g.Box.Run("nft", "list", "ruleset"); strings.Contains(out, "redirect") {
		t.Errorf("`nameroute down` left:\n%s", out)
	}
}

// lanResolver is a machine on the LAN that answers every query with NOTIMP.
func (g *gate) lanResolver(addrs ...string) *netlab.Host {
	g.t.Helper()
	n := g.lanHost(addrs...)
	refuse := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		if err := w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented)); err != nil {
			g.t.Errorf("the LAN's resolver: %v", err)
		}
	})
	for _, a := range addrs {
		at := netip.AddrPortFrom(netip.MustParseAddr(a), 53).String()
		c, err := n.ListenPacket("udp", at)
		if err != nil {
			g.t.Fatal(err)
		}
		l, err := n.Listen("tcp", at)
		if err != nil {
			g.t.Fatal(err)
		}
		dnsserver.Start(g.t, &dns.Server{PacketConn: c, Handler: refuse})
		dnsserver.Start(g.t, &dns.Server{Listener: l, Handler: refuse})
	}
	return n
}

// lanHost is one more machine on the LAN, with an address of each family.
func (g *gate) lanHost(addrs ...string) *netlab.Host {
	g.t.Helper()
	n := g.Host("own")
	netlab.Cable(n.Namespace, "eth0", g.Box.Namespace, "lan1")
	g.Box.IP("link set lan1 master br-lan")
	// What crosses the bridge passes the box's chains, where the kernel can do that.
	if _, err := g.Box.Exec("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1"); err != nil {
		g.t.Logf("bridged packets do not pass the box's chains here: %v", err)
	}
	n.IP("addr add "+addrs[0]+"/24 dev eth0", "addr add "+addrs[1]+"/64 dev eth0 nodad",
		"route add default via "+g.BoxLAN.V4.String(), "route add ::/0 via "+g.BoxLAN.V6.String())
	return n
}

// wantRedirected asks resolvers of the internet, and wants our answers: a listed name is
// asked for through the tunnel and routed through it, another via the WAN's resolver.
func (g *gate) wantRedirected(prefix string, resolvers []netip.Addr) {
	g.t.Helper()
	for i, at := range resolvers {
		for _, proto := range []string{"udp", "tcp"} {
			for _, domain := range []string{"listed.example", "other.example"} {
				name := fmt.Sprintf("%s%d%s.%s", prefix, i, proto, domain)
				reply, err := g.Client.QueryAt(netip.AddrPortFrom(at, 53), newQuery(name), proto)
				if err != nil || len(reply.Answer) != 1 {
					g.t.Errorf("%s at %s over %s: %v, %v", name, at, proto, reply, err)
					continue
				}
				a := g.World.Addresses(name).V4
				asked := g.World.Queries(name)
				switch {
				case domain == "listed.example":
					g.wantElements(true, a)
					g.wantVia(g.Client, netlab.ViaVPN, a)
					g.wantQueriesBy(name, netlab.ViaVPN)
				case len(asked) == 0 || !g.Plan.ISP.Has(asked[0].Server): // more than once on a busy machine
					g.t.Errorf("%s at %s over %s: asked %v, want it asked at the ISP's", name, at, proto, asked)
				}
			}
		}
	}
}

// wantAskedAt asks resolvers of the internet, and wants them to hear it.
func (g *gate) wantAskedAt(from *netlab.Host, prefix string, resolvers []netip.Addr) {
	g.t.Helper()
	for i, at := range resolvers {
		for _, proto := range []string{"udp", "tcp"} {
			name := fmt.Sprintf("%s%d%s.direct.example", prefix, i, proto)
			_, err := from.QueryAt(netip.AddrPortFrom(at, 53), newQuery(name), proto)
			if asked := g.World.Queries(name); err != nil || len(asked) != 1 || asked[0].Server != at {
				g.t.Errorf("%s at %s over %s: %v, asked %v", name, at, proto, err, asked)
			}
		}
	}
}

// fixedPort asks a resolver from one socket, and wants a query to reach it, or not.
func (g *gate) fixedPort(resolver netip.Addr) func(name string, direct bool) {
	g.t.Helper()
	conn, err := g.Client.Dial("udp", netip.AddrPortFrom(resolver, 53).String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	c := &dns.Conn{Conn: conn}
	return func(name string, direct bool) {
		g.t.Helper()
		n := 0
		if err := netlab.Poll(30*time.Second, func() error {
			n++
			name := fmt.Sprintf("n%d.%s", n, name) // one in flight while the flow is ended may be lost
			err := errors.Join(conn.SetDeadline(time.Now().Add(500*time.Millisecond)), c.WriteMsg(newQuery(name)))
			if err == nil {
				_, err = c.ReadMsg()
			}
			asked := g.World.Queries(name)
			return netlab.Check(err == nil && len(asked) > 0 && (asked[0].Server == resolver) == direct,
				"%s from one port to %s: asked %v, %v; want it asked there: %v", name, resolver, asked, err, direct)
		}); err != nil {
			g.t.Error(err)
		}
	}
}

// awaitAskedAt waits until queries to a resolver reach it, or do not.
func (g *gate) awaitAskedAt(resolver netip.Addr, want bool) {
	g.t.Helper()
	n := 0
	netlab.Eventually(g.t, 10*time.Second, func() error {
		n++
		name := fmt.Sprintf("await%d%v.direct.example", n, want)
		_, err := g.Client.QueryAt(netip.AddrPortFrom(resolver, 53), newQuery(name), "udp")
		asked := g.World.Queries(name)
		return netlab.Check(err == nil && len(asked) > 0 && (asked[0].Server == resolver) == want,
			"%s is asked at %s: %v, want that it is: %v", name, resolver, asked, want)
	})
}

// wantDoT connects to port 853, over TCP for DoT and UDP for DoQ. What is refused is
// refused at once, not left to time out.
func (g *gate) wantDoT(a netip.Addr, want bool) {
	g.t.Helper()
	at := netip.AddrPortFrom(a, 853).String()
	conn, err := g.Client.Dial("tcp", at)
	if err == nil {
		conn.Close()
	}
	if want != (err == nil) || !want && !errors.Is(err, unix.ECONNREFUSED) {
		g.t.Errorf("DoT to %s: %v, want it open: %v", a, err, want)
	}
	if want {
		return // no host of the lab answers over UDP there
	}
	conn, err = g.Client.Dial("udp", at)
	if err != nil {
		g.t.Error(err)
		return
	}
	defer conn.Close()
	err = conn.SetDeadline(time.Now().Add(10 * time.Second * netlab.Slack()))
	if err == nil {
		_, err = conn.Write([]byte("hello"))
	}
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		g.t.Errorf("DoQ to %s: %v, want it refused", a, err)
	}
}
