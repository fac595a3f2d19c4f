package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// On a former dnsmasq router resolv.conf names the router itself. Names on no list are
// queried at the resolvers that the WAN's DHCP client was given.
func TestResolvConfNamesTheBox(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, conf, record string }{
		{"dhcpcd", "nameserver 127.0.0.1\n", "/run/dhcpcd/hook-state/resolv.conf/wan0.dhcp"},
		{"resolvconf", "nameserver ::1\nnameserver 127.0.0.1\n", "/run/resolvconf/interface/wan0.dhclient"},
		{"systemd-resolved", "nameserver 127.0.0.53\n", "/run/systemd/resolve/resolv.conf"},
		{"an address of the box", "nameserver LAN\n", "/run/dhcpcd/hook-state/resolv.conf/wan0.dhcp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{WAN: " "})
			g.ownEtc()
			inPlace(g, strings.ReplaceAll(c.conf, "LAN", g.Plan.BoxLAN.V4.String()))
			g.record(c.record)
			g.start()
			g.wantUnlisted("now.other.example")
		})
	}
}

// Where no resolver is known, one line of the log names the file, the line, the value
// and what to do. Listed names go on working; when a resolver becomes known the others
// do, too.
func TestResolvConfNamesTheBoxAlone(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{WAN: " "})
	g.ownEtc()
	inPlace(g, "# dnsmasq\nnameserver 127.0.0.1\n")
	g.start()
	for n := range 3 {
		began := time.Now()
		reply, err := g.Client.Query(new(dns.Msg).SetQuestion(fmt.Sprintf("n%d.other.example.", n), dns.TypeA), "udp")
		if err != nil || reply.Rcode != dns.RcodeServerFailure || time.Since(began) > 4*time.Second { // the budget is 4.5 s
			t.Errorf("unlisted name: %v, %v after %v; want SERVFAIL at once", reply, err, time.Since(began))
		}
		g.resolve(fmt.Sprintf("n%d.listed.example", n))
	}
	want := fmt.Sprintf("no resolver of the WAN is known: /etc/resolv.conf:2: nameserver 127.0.0.1: "+
		"is this box, which cannot query itself: set `wan_resolvers: [ADDRESS]` in %s/gateway.yaml", g.Box.Dir)
	g.p.WaitOutput(want, 30*time.Second)
	if n := strings.Count(g.p.Output(), want); n != 1 {
		t.Errorf("the log says %d times, want once: %s", n, want)
	}
	g.record("/run/dhcpcd/hook-state/resolv.conf/wan0.dhcp")
	netlab.Eventually(t, 10*time.Second, func() error {
		reply, err := g.Client.Query(new(dns.Msg).SetQuestion("late.other.example.", dns.TypeA), "udp")
		if err == nil && reply.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("answered %s", dns.RcodeToString[reply.Rcode])
		}
		return err
	})
	g.wantUnlisted("later.other.example")
}

// record has a program on the box record the ISP's resolver.
func (g *gate) record(file string) {
	g.t.Helper()
	g.put(fmt.Sprintf("mkdir -p %[1]s; cat > %[2]s", file[:strings.LastIndexByte(file, '/')], file),
		fmt.Sprintf("# lease\nnameserver %s\n", g.Plan.ISP.V4))
}

// wantUnlisted wants a name on no list answered, and queried via the WAN alone.
func (g *gate) wantUnlisted(name string) {
	g.t.Helper()
	g.resolve(name)
	queries := g.World.Queries(name)
	if len(queries) == 0 {
		g.t.Errorf("%s: no query arrived", name)
	}
	for _, q := range queries {
		if q.Egress != netlab.ViaWAN {
			g.t.Errorf("%s: want a query via the WAN: %s", name, q)
		}
	}
}
