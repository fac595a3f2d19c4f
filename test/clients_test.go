package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 4 and 6, for one class of clients: it has its names and its routes to itself. The same name is queried via
// the tunnel and its addresses are routed there for a client of the class, and for another
// client both are the WAN's. Known by MAC address from the first query on, by prefix, or by
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
