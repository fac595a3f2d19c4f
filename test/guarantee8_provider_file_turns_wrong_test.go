package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// quickStart returns README's first Corefile, whose upstreams have no addresses: those of
// the provider's file and those of the WAN are used.
func quickStart(t *testing.T) string { return readmeCorefile(t, "listed mine") }

// A provider's file that turns wrong changes nothing: tunnel, source NAT and resolvers
// stay those of the last good one, in every part of the program and over a restart.
func TestProviderFileTurnsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		alone   bool // the parts are separate processes
		restart bool // what reads the file is started again while the file is wrong
	}{
		{"run", false, false},
		{"run, restarted", false, true},
		{"parts alone", true, false},
		{"parts alone, restarted", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{})
			g.Box.Write("Corefile", quickStart(t))
			part, sidecar := "run", (*netlab.Process)(nil)
			if c.alone {
				part, sidecar = "dns", g.launchGateway()
			}
			g.start(part)
			g.wantStaticSNAT()
			addrs := g.resolve("www.listed.example")
			g.Reset()

			g.Box.Write("wg0.conf", strings.Replace(g.WireGuardConf(), "[Peer]", "[Pear]", 1))
			if c.restart {
				if sidecar != nil {
					g.stop(sidecar)
					sidecar = g.launchGateway()
				}
				g.stop(g.p)
				g.start(part)
			}
			if sidecar == nil {
				sidecar = g.p
			}
			sidecar.WaitOutput("[Pear]", 10*time.Second)
			g.awaitRefresh()

			g.wantStaticSNAT()
			fresh := append(addrs, g.resolve("fresh.listed.example")...)
			g.wantVia(g.Client, netlab.ViaVPN, fresh...)
			g.Settle()
			for _, p := range g.Tunnel.Inside() {
				if !g.Tunnel.Near.Has(p.Src.Addr()) {
					t.Errorf("a packet in the tunnel has not the tunnel's address: %s", p)
				}
			}
			g.wantNoneClear(fresh...)
			g.wantNoQueryByWAN("listed.example")
		})
	}
}

// wantStaticSNAT wants what leaves via the tunnel translated to the addresses of the
// provider's file: masquerade would forget its flows when the link goes down.
func (g *gate) wantStaticSNAT() {
	g.t.Helper()
	chain := g.Box.Run("nft", "list", "chain", "inet", "nameroute", "source_nat")
	for _, want := range []string{"snat ip to " + g.Tunnel.Near.V4.String(), "snat ip6 to " + g.Tunnel.Near.V6.String()} {
		if !strings.Contains(chain, want) {
			g.t.Errorf("the chain has no %q:\n%s", want, chain)
		}
	}
	if strings.Contains(chain, "masquerade") {
		g.t.Errorf("the tunnel is masqueraded:\n%s", chain)
	}
}

// awaitRefresh gives the box another address and waits until the nft table has it: all
// that the table is made of was read again then.
func (g *gate) awaitRefresh() {
	g.t.Helper()
	const address = "198.51.100.199"
	g.Box.IP("addr add " + address + "/32 dev br-lan")
	netlab.Eventually(g.t, 10*time.Second, func() error {
		if out := g.Box.Run("nft", "list", "table", "inet", "nameroute"); !strings.Contains(out, address) {
			return fmt.Errorf("the nft table has no %s:\n%s", address, out)
		}
		return nil
	})
}
