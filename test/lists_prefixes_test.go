package test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// prefixGate is a gateway whose route vpn takes the prefixes of lists, each with its file.
func prefixGate(t *testing.T, route string, lists map[string]string) *gate {
	t.Helper()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	names, files := []string{}, ""
	for name, file := range lists {
		names = append(names, name)
		files += "  " + name + ": {file: " + file + "}\n"
	}
	g.Box.WriteFiles(netlab.Setup{Route: route + "prefixes: [" + strings.Join(names, ", ") + "]"})
	g.Box.Write("gateway.yaml", g.read("gateway.yaml")+files)
	return g
}

// What is in a route's prefixes takes that route without any query, and a list that
// changes moves what it gains and loses.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	g := prefixGate(t, "", map[string]string{"chnroute": "chnroute.nftset"})
	write := func(v4, v6 string) {
		g.Box.Write("chnroute.nftset", "add element inet fw4 chnroute { "+v4+" }\nadd element inet fw4 chnroute6 { "+v6+" }\n")
	}
	write("30.200.0.0/16", "2a0f:aa:7::/48")
	g.start()
	first, second := parse("30.200.1.1", "2a0f:aa:7::1"), parse("30.201.1.1", "2a0f:aa:8::1")
	g.Reset()
	for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
		g.wantVia(from, netlab.ViaVPN, first...)
		g.wantVia(from, netlab.ViaWAN, second...)
	}
	g.wantNoneClear(first...)
	for _, a := range append(first, second...) {
		if name := g.World.Owner(a); name != "" {
			t.Errorf("%s is the address of %s, which may have been asked for", a, name)
		}
	}

	write("30.201.0.0/16", "2a0f:aa:8::/48")
	took := g.awaitVia(g.Client, netlab.ViaVPN, 10*time.Second, second...)
	t.Logf("a list that has changed is in force after %v", took.Round(time.Millisecond))
	g.awaitVia(g.Client, netlab.ViaWAN, 10*time.Second, first...)

	// A list that is broken loses nothing.
	g.Box.Write("chnroute.nftset", "<html>not found</html>\n")
	g.awaitOutput("last good content stays in use", 10*time.Second)
	g.Reset()
	g.wantVia(g.Client, netlab.ViaVPN, second...)
	g.wantNoneClear(second...)
}

// Guarantee 5: no routing loops.
// Prefixes of a list that cover everything leave the box, its LAN, its
// uplink and its tunnel as they were.
func TestPrefixesThatWouldLoop(t *testing.T) {
	t.Parallel()
	g := prefixGate(t, "private: learn\n", map[string]string{"everything": "everything.txt"})
	g.Box.Write("everything.txt", "0.0.0.0/0\n::/0\n192.168.77.0/24\nfd77::/64\n"+
		g.Tunnel.Endpoint.V4.String()+"\n"+g.Tunnel.Endpoint.V6.String()+"\n")
	g.start()
	g.Reset()
	far := parse("30.200.1.1", "2a0f:aa:7::1")
	g.wantVia(g.Client, netlab.ViaVPN, far...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, far...)
	g.wantNoneClear(far...)

	g.wantVia(g.Client, netlab.ViaWAN, g.Plan.ISP.All()...)
	g.wantVia(g.Box.Host, netlab.ViaWAN, g.Plan.ISP.All()...)
	for _, at := range append(g.BoxLAN.All(), g.BoxWAN.All()...) {
		if _, err := g.Client.QueryAt(netip.AddrPortFrom(at, 53), newQuery("at.listed.example"), "udp"); err != nil {
			t.Errorf("the box at %s: %v", at, err)
		}
	}
	for _, a := range g.Plan.Client.All() {
		if out, err := g.Box.Exec("ping", "-n", "-c1", "-W30", a.String()); err != nil {
			t.Errorf("the client at %s: %v\n%s", a, err, out)
		}
	}
	if local := g.Tunnel.Inside(func(p wire.Packet) bool {
		return p.Passes(wire.To(append(g.Plan.Client.All(), g.Plan.ISP.All()...)...))
	}); len(local) > 0 {
		t.Errorf("%d packets to local networks went into the tunnel, the first: %s", len(local), local[0])
	}
	if len(g.ISP.Encrypted()) == 0 {
		t.Error("no packet went to the endpoint")
	}
	if looped := g.Tunnel.Inside(func(p wire.Packet) bool {
		return p.Dst.Port() == g.Tunnel.Port && g.Tunnel.Endpoint.Has(p.Dst.Addr())
	}); len(looped) > 0 {
		t.Errorf("%d packets of the tunnel went into the tunnel, the first: %s", len(looped), looped[0])
	}
}

// The real lists of China's prefixes are in the kernel, to the first and last line.
func TestRealPrefixes(t *testing.T) {
	t.Parallel()
	files := map[string]string{"chnroute": realList(t, "chnroute.nftset"), "chnroute6": realList(t, "chnroute6.nftset")}
	g := prefixGate(t, "", files)
	began := time.Now()
	g.start()
	t.Logf("first answer through the tunnel after %v; memory: %s", time.Since(began).Round(time.Millisecond), memory(t, g.p.Pid))
	for list, set := range map[string]string{"chnroute": "vpn4p", "chnroute6": "vpn6p"} {
		all := elementsIn(t, files[list])
		if len(all) < 1000 {
			t.Fatalf("%s: only %d prefixes", filepath.Base(files[list]), len(all))
		}
		for _, p := range []string{all[0], all[len(all)/2], all[len(all)-1]} {
			address, _, _ := strings.Cut(p, "/")
			if out, err := g.Box.Exec("nft", "get", "element", "inet", "nameroute", set, "{ "+address+" }"); err != nil {
				t.Errorf("%s of %s: %v\n%s", p, list, err, out)
			}
		}
	}
	for set, address := range map[string]string{"vpn4p": "8.8.8.8", "vpn6p": "2001:4860:4860::8888"} {
		if out, err := g.Box.Exec("nft", "get", "element", "inet", "nameroute", set, "{ "+address+" }"); err == nil {
			t.Errorf("%s is in set %s:\n%s", address, set, out)
		}
	}
}

// elementsIn are the prefixes of `add element ... { PREFIX }` lines.
func elementsIn(t *testing.T, file string) (all []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if words := strings.Fields(in.Text()); len(words) > 3 && words[0] == "add" && words[1] == "element" {
			all = append(all, words[len(words)-2])
		}
	}
	return all
}

// awaitOutput waits until the process has written something.
func (g *gate) awaitOutput(text string, limit time.Duration) {
	g.t.Helper()
	netlab.Eventually(g.t, limit, func() error {
		return netlab.Check(strings.Contains(g.p.Output(), text), "not in the log: %s", text)
	})
}

// Guarantee 4: kill switch.
// With all addresses as a route's prefixes, those for private and special use that are no local
// network take the route, too, up or down; none leaves by the WAN in the clear.
func TestPrefixesOfEverything(t *testing.T) {
	t.Parallel()
	g := prefixGate(t, "", map[string]string{"everything": "everything.txt"})
	g.Box.Write("everything.txt", "0.0.0.0/1\n128.0.0.0/1\n::/0\n")
	g.start(quickDown...)
	far := parse("10.99.8.7", "100.64.9.9", "172.30.0.7", "192.168.200.1", "198.18.7.7", "fd88::7", "2001:db8::7")
	g.Reset()
	send := func() {
		for _, a := range far {
			for _, from := range []*netlab.Host{g.Client, g.Box.Host} {
				if c, err := from.Dial("udp", netip.AddrPortFrom(a, 7).String()); err == nil {
					c.Write([]byte("to nobody")) // an error is as good
					c.Close()
				}
			}
		}
	}
	send()
	netlab.Eventually(t, backWithin, func() error {
		for _, a := range far {
			if n := len(g.Tunnel.Inside(wire.To(a))); n < 2 {
				return fmt.Errorf("%d packets to %s in the tunnel, want the client's and the box's", n, a)
			}
		}
		return nil
	})
	g.wantVia(g.Client, netlab.ViaWAN, g.Plan.ISP.All()...)
	g.renewLeases()
	g.Tunnel.Silence(true)
	netlab.Eventually(t, 2*backWithin, func() error {
		send()
		return netlab.Check(strings.Contains(g.p.Output(), "peer is silent"), "the route is up")
	})
	send()
	g.wantNoneClear(far...)
}

// renewLeases sends as DHCP clients do that renew a lease. The box's renewal leaves by the WAN,
// that of a LAN host, to a server on the internet, does not.
func (g *gate) renewLeases() {
	g.t.Helper()
	for _, c := range []struct {
		from     *netlab.Host
		server   string
		src, dst uint16
		clear    bool
	}{
		{g.Box.Host, "30.7.7.1", 68, 67, true}, {g.Box.Host, "2a0f:7::1", 546, 547, true},
		{g.Client, "30.7.7.2", 68, 67, false}, {g.Client, "2a0f:7::2", 546, 547, false},
		{g.Box.Host, "30.7.7.3", 0, 67, false}, {g.Box.Host, "2a0f:7::3", 0, 547, false},
	} {
		to := netip.MustParseAddr(c.server)
		conn, err := c.from.DialWith(net.Dialer{LocalAddr: &net.UDPAddr{Port: int(c.src)}}, "udp", netip.AddrPortFrom(to, c.dst).String())
		if err != nil {
			g.t.Fatal(err)
		}
		conn.Write([]byte("renew"))
		conn.Close()
		netlab.Eventually(g.t, backWithin, func() error {
			byWAN, byVPN := len(g.ISP.Clear(wire.To(to))), len(g.Tunnel.Inside(wire.To(to)))
			return netlab.Check(byWAN+byVPN > 0 && (byWAN > 0) == c.clear, "%s to %s: %d by the WAN, %d by the tunnel", c.from.Name, to, byWAN, byVPN)
		})
	}
}
