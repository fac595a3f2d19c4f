package test

import (
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 1, 4 and 6, for docs/scenarios/gfwlist.md.
// The list is fetched through the tunnel, and before it is there no name is asked for by the
// WAN. Names on it are asked for and reached through the tunnel, its exceptions and all else
// via the WAN, also where the client asks another resolver; a list that has changed is in use
// as soon as it is fetched.
func TestScenarioGfwlist(t *testing.T) {
	t.Parallel()
	g := scenario(t, netlab.Options{GoResolvers: true}, "gfwlist.md", 0)
	g.Box.Write("wg0.conf", g.WireGuardConf())
	g.Box.Write("mine.txt", "mine.example\n")
	p := g.publish("||blocked.example\n@@||open.blocked.example\n")
	p.write("fail", "")
	run := func() {
		g.p = g.Box.StartEnv([]string{"SSL_CERT_FILE=" + p.dir + "/good.crt"}, slices.Concat([]string{binary, "run"}, g.Box.Flags())...)
		g.logs(g.p)
		g.Box.AwaitDNS(g.p, 30*time.Second)
		g.awaitControl("run")
	}
	run()
	g.Box.AwaitNames("mine.example", 30*time.Second)
	for _, name := range []string{"early.blocked.example", "early.other.example"} {
		if m, err := g.Client.Query(newQuery(name), "udp"); err != nil || m.Rcode != dns.RcodeServerFailure {
			t.Errorf("%s before the list is there: %v, %v; want SERVFAIL", name, m, err)
		}
		g.wantNoQueryByWAN(name)
	}

	p.awaitAnswer("500")
	p.remove("fail")
	g.Box.Run(slices.Concat([]string{"env", "SSL_CERT_FILE=" + p.dir + "/good.crt", binary, "update"}, g.Box.Flags())...)
	await := func(name string, want netlab.Egress) {
		t.Helper()
		netlab.Eventually(t, 30*time.Second, func() error {
			g.Reset()
			if _, err := g.Client.Resolve(name); err != nil {
				return err
			}
			q := g.World.Queries(name)
			return netlab.Check(len(q) > 0 && q[0].Egress == want, "%s: %v, want it asked via %s", name, q, want)
		})
	}
	await("fetched.blocked.example", netlab.ViaVPN)
	g.Box.AwaitNames("opened.other.example", 30*time.Second) // that the list is there is seen by one block before the other
	for name, want := range map[string]netlab.Egress{
		"www.blocked.example": netlab.ViaVPN, "www.mine.example": netlab.ViaVPN,
		"www.open.blocked.example": netlab.ViaWAN, "www.other.example": netlab.ViaWAN,
	} {
		g.Reset()
		g.wantAt(g.Client, name, want)
		g.wantVia(g.Box.Host, want, g.World.Addresses(name).All()...)
		if want == netlab.ViaVPN {
			g.wantNoneClear(g.World.Addresses(name).All()...)
			g.wantNoQueryByWAN(name)
		}
	}

	g.wantWarnings()
	p.write("gfwlist.txt", base64.StdEncoding.EncodeToString([]byte("[AutoProxy 0.2.9]\n||blocked.example\n||fresh.example\n")))
	g.Box.Run(slices.Concat([]string{"env", "SSL_CERT_FILE=" + p.dir + "/good.crt", binary, "update"}, g.Box.Flags())...)
	await("n1.fresh.example", netlab.ViaVPN)
	g.wantAt(g.Client, "www.fresh.example", netlab.ViaVPN)
	p.wantServed(netlab.ViaVPN, "200", "500")
}

// publish serves an AutoProxy list at https://lists.example.org/gfwlist.txt.
func (g *gate) publish(list string) *press {
	g.t.Helper()
	p := newPress(g)
	p.write("gfwlist.txt", base64.StdEncoding.EncodeToString([]byte("[AutoProxy 0.2.9]\n"+list)))
	g.World.Add("lists.example.org. 60 IN A 30.77.7.7", "lists.example.org. 60 IN AAAA 2a0f:77::7")
	g.Internet.NFT(`table inet press { chain prerouting { type nat hook prerouting priority dstnat
		ip daddr 30.77.7.7 tcp dport 443 redirect to :8443
		ip6 daddr 2a0f:77::7 tcp dport 443 redirect to :8443
	}; }`)
	return p
}
