package test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 4, 6 and 9, for one class of clients: it has its names and its routes to itself. The same name is queried via
// the tunnel and its addresses are routed there for a client of the class, and for another
// client both are the WAN's, and it cannot ask the class's own listener. Known by MAC address from the first query on, by prefix, or by
// interface.
func TestClients(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	other := g.lanHost("192.168.77.5", "fd77::5")
	mac := strings.TrimSpace(g.Client.Run("cat", "/sys/class/net/eth0/address"))
	byMAC := fmt.Sprintf("clients:\n  tv: {mac: [%q]}\n", mac)
	g.Box.WriteFiles(netlab.Setup{Gateway: byMAC + "redirect_dns: on\n", Route: "clients: [tv]"})
	g.Box.Write("Corefile", strings.Replace(g.read("Corefile"), "    listed mine\n", "    clients tv\n    listed mine\n", 1))
	g.startAnswering()
	// Another client has the addresses first: what is learned for the class is not its business.
	g.wantOfNoClass(other, "mac.listed.example")
	g.wantOfClass("mac.listed.example")
	g.wantOfNoClass(other, "mac.listed.example")
	g.wantOfClass("other.example", netlab.ViaWAN)
	g.wantClassShown(mac)
	g.wantNotAskedDirectly(other)
	yaml := g.read("gateway.yaml")
	change := func(keys, match string) {
		g.Box.Write("gateway.yaml", strings.Replace(yaml, byMAC, "clients:\n  tv: "+keys+"\n", 1))
		g.hangUp("reload complete")
		netlab.Eventually(t, 30*time.Second, func() error {
			rules := g.Box.Run("nft", "list", "chain", "inet", "nameroute", "classify")
			return netlab.Check(strings.Contains(rules, match+" jump clients_tv"), "no rule has %s:\n%s", match, rules)
		})
	}
	change("{prefix: [192.168.77.2, \"fd77::2\"]}", "ip6 saddr fd77::2")
	g.wantOfNoClass(other, "prefix.listed.example")
	g.wantOfClass("prefix.listed.example")
	g.wantOfNoClass(other, "prefix.listed.example")
	change("{prefix: [192.168.77.99]}", "ip saddr 192.168.77.99")
	g.wantOfNoClass(g.Client, "none.listed.example")
	change("{interface: [br-lan]}", `iifname "br-lan"`)
	g.wantOfClass("interface.listed.example")
	g.wantSettledTable()
}

// wantClassShown wants status to say what there is of the class.
func (g *gate) wantClassShown(mac string) {
	g.t.Helper()
	netlab.Eventually(g.t, 30*time.Second, func() error {
		p, _ := g.status()
		if len(p.Classes) != 1 {
			return fmt.Errorf("%d classes, want tv", len(p.Classes))
		}
		c := p.Classes[0]
		got := fmt.Sprint(c.Name, c.Clients, c.Routes, c.Lists, c.Elements > 0)
		want := fmt.Sprint("tv", []string{mac}, []string{"vpn"}, []string{"mine"}, true)
		port := fmt.Sprint(":", gateway.ClassPort("tv", 53))
		return netlab.Check(got == want && slices.ContainsFunc(c.Listeners, func(l string) bool { return strings.HasSuffix(l, port) }),
			"status shows %s, listeners %v; want %s and port %s", got, c.Listeners, want, port)
	})
}

// wantNotAskedDirectly wants that the listener of the class answers no client that asks there
// instead of being redirected.
func (g *gate) wantNotAskedDirectly(hosts ...*netlab.Host) {
	g.t.Helper()
	const patience = 300 * time.Millisecond
	query, err := newQuery("direct.listed.example").Pack()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, from := range append(hosts, g.Client) {
		for _, at := range g.BoxLAN.All() {
			to := netip.AddrPortFrom(at, gateway.ClassPort("tv", 53)).String()
			if c, err := from.DialWith(net.Dialer{Timeout: patience}, "tcp", to); err == nil {
				g.t.Errorf("%s connects to %s", from.Name, to)
				c.Close()
			}
			c, err := from.Dial("udp", to)
			if err != nil {
				g.t.Fatal(err)
			}
			_, err = c.Write(query)
			_ = c.SetReadDeadline(time.Now().Add(patience)) // of a socket that was just opened
			if n, readErr := c.Read(make([]byte, 512)); err == nil && readErr == nil {
				g.t.Errorf("%s is answered at %s with %d bytes", from.Name, to, n)
			}
			c.Close()
		}
	}
	if asked := g.World.Queries("direct.listed.example"); len(asked) > 0 {
		g.t.Errorf("asked all the same: %v", asked)
	}
}

// startAnswering starts nameroute where no name of the box itself is listed.
func (g *gate) startAnswering() {
	g.t.Helper()
	g.p = g.Box.StartProduct(binary, "run")
	g.logs(g.p)
	g.awaitControl("run")
	netlab.Eventually(g.t, 30*time.Second, func() error {
		_, err := g.Client.Query(newQuery("ready.example"), "udp")
		return err
	})
}

// wantOfClass queries a name as the client and wants it to be of the class: queried via the
// tunnel, and routed there.
func (g *gate) wantOfClass(name string, egress ...netlab.Egress) {
	g.t.Helper()
	want := netlab.ViaVPN
	if len(egress) > 0 {
		want = egress[0]
	}
	g.Reset()
	g.wantAt(g.Client, name, want)
}

// wantOfNoClass queries a name and wants it and the packets to it to take the WAN.
func (g *gate) wantOfNoClass(from *netlab.Host, name string) {
	g.t.Helper()
	g.Reset()
	g.wantAt(from, name, netlab.ViaWAN)
}

func (g *gate) wantAt(from *netlab.Host, name string, want netlab.Egress) {
	g.t.Helper()
	at := g.World.Addresses(name).All()
	for i, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		for _, server := range slices.Concat(g.BoxLAN.All(), g.Plan.World2.All()) {
			for _, proto := range []string{"udp", "tcp"} {
				q := newQuery(name)
				q.Question[0].Qtype = qtype
				reply, err := from.QueryAt(netip.AddrPortFrom(server, 53), q, proto)
				if err != nil || len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), "\t"+at[i].String()) {
					g.t.Errorf("%s asks %s over %s for %s: %v, %v, want %s", from.Name, server, proto, name, reply, err, at[i])
				}
			}
		}
	}
	g.Settle()
	for _, q := range g.World.Queries(name) {
		if q.Egress != want {
			g.t.Errorf("%s of %s was queried via %s, want %s", name, from.Name, q.Egress, want)
		}
	}
	g.wantVia(from, want, at...)
}
