package test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Guarantees 3 and 4, for programs of the box beside groups and several uplinks: a program whose
// route is a group takes the member in force, one whose route is the WAN takes the uplink in
// force, whatever lists say, and one whose route has `on_down: wan` takes the WAN as long as that
// is down. Names and packets of both families move together, nothing of the first program takes
// an uplink, and no packet takes an uplink with the source of another way out. A client of the LAN whose
// class has the WAN as its route is as the second one. `check --active` asks through each member, those
// that rest included.
func TestProgramsOfGroupsAndWANs(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true, NoWANNAT: true, TellUplinks: true, Tunnels: 3})
	u := g.AddWAN()
	g.Box.IP(fmt.Sprintf("route add default via %s dev %s metric 5000", u.Gate.V4, u.Link), fmt.Sprintf("route add ::/0 via %s dev %s metric 5000", u.Gate.V6, u.Link))
	g.Box.WriteFiles(netlab.Setup{WAN: " "})
	const torrentID, backupID, fallsID = 54252, 54253, 54254
	for n := 1; n < 3; n++ {
		g.Box.Write(fmt.Sprintf("wg%d.conf", n), g.Tunnels[n].Conf(netlab.ConfOptions{}))
	}
	g.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
wan: {egress: [wan0, wan1], hold: 2s, good: 2}
wan_resolvers: [%[2]s, "%[3]s"]
redirect_dns: on
clients:
  torrent: {user: [%[4]d], route: both}
  backup: {user: [%[5]d], route: wan}
  falls: {user: [%[6]d], route: back}
  laptop: {prefix: [%[7]s, "%[8]s"], route: wan}
routes:
  vpn: {wireguard: %[1]s/wg0.conf}
  de: {wireguard: %[1]s/wg1.conf}
  both: {egress: [vpn, de], probe: ping %[2]s, fails: 4, good: 1, every: 1s, hold: 1h}
  back: {wireguard: %[1]s/wg2.conf, on_down: wan, probe: ping %[2]s, fails: 4, good: 1, every: 1s}
lists:
  mine: {file: %[1]s/mine.txt}
`, g.Box.Dir, g.Plan.World2.V4, g.Plan.World2.V6, torrentID, backupID, fallsID, g.Plan.Client.V4, g.Plan.Client.V6))
	world := fmt.Sprintf("%s %s", g.Plan.World.V4, g.Plan.World.V6)
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    clients torrent
    cache
    upstream both %s
}
. {
    clients backup
    cache
    upstream wan
}
. {
    clients laptop
    cache
    upstream wan
}
. {
    clients falls
    cache
    upstream back %s
}
`, world, world)+g.read("Corefile"))
	g.start()
	g.Box.AwaitNames("www.listed.example", 30*time.Second)
	listed := g.World.Addresses("www.listed.example").All()
	taps := map[string]*wire.Tap{"wan0": netlab.NewTap(g.Box.Namespace, "wan0"), "wan1": netlab.NewTap(g.Box.Namespace, "wan1")}
	torrent, backup, falls := g.programOf(torrentID, torrentID), g.programOf(backupID, backupID), g.programOf(fallsID, fallsID)
	for _, m := range []string{"wan0", "wan1", "vpn", "de"} {
		g.awaitMember(m, "good")
	}
	plain := g.World.Addresses("plain.other.example").All()
	want := func(p program, by netlab.Egress, domain string, to []netip.Addr) {
		t.Helper()
		for _, a := range to {
			p.awaitVia(by, a)
		}
		p.wantAsked(by, domain)
		p.wantVia(by, to...)
	}
	laptop := func(by netlab.Egress, name string) {
		t.Helper()
		g.awaitVia(g.Client, by, 60*time.Second, listed...)
		g.Reset()
		g.wantAt(g.Client, name, by)
	}
	laptop(netlab.ViaWAN, "laptop1.listed.example")
	asked := fmt.Sprintf("resolver %s via route ", g.Plan.World.V4)
	byWAN := fmt.Sprintf("resolver %s:53 via route ", g.Plan.World2.V4)
	g.wantChecked("ok       "+asked+"both: member vpn: answers, in ", "ok       "+asked+"both: member de: answers, in ",
		"ok       "+byWAN+"wan: member wan0: answers, in ", "ok       "+byWAN+"wan: member wan1: answers, in ")
	g.Reset()
	want(torrent, netlab.ViaVPN, "torrent1.other.example", plain)
	want(backup, netlab.ViaWAN, "backup1.listed.example", listed)
	want(falls, netlab.ViaTunnel(2), "falls1.other.example", plain)

	// The group's member, an uplink and the other route all stop carrying packets.
	deaf := func(n int) {
		g.Tunnels[n].NFT(`table inet deaf { chain forward { type filter hook forward priority 0; iifname "wg0" drop; }; }`)
	}
	deaf(0)
	deaf(2)
	g.silence("wan0", true)
	want(backup, netlab.ViaWAN2, "backup2.listed.example", listed)
	laptop(netlab.ViaWAN2, "laptop2.listed.example")
	g.Reset()
	want(torrent, netlab.ViaTunnel(1), "torrent2.other.example", plain)
	g.wantNoneClear(plain...)
	g.wantNoQueryByWAN("torrent2.other.example")
	want(falls, netlab.ViaWAN2, "falls2.other.example", plain)
	g.wantChecked("warning  "+asked+"both: member vpn: no answer to two queries", "ok       "+asked+"both: member de: answers, in ",
		"warning  "+byWAN+"wan: member wan0: no answer to two queries", "ok       "+byWAN+"wan: member wan1: answers, in ")
	g.Tunnels[2].NFT("delete table inet deaf")
	want(falls, netlab.ViaTunnel(2), "falls3.other.example", plain)
	g.wantOwnSources(taps, append(listed, plain...)...)

	// With no member left the group's program is closed; the others go on.
	g.Reset()
	deaf(1)
	netlab.Eventually(t, 60*time.Second, func() error {
		return netlab.Check(strings.Contains(g.p.Output(), "route is down"), "the group is not down")
	})
	for _, a := range plain {
		for _, proto := range []string{"tcp", "udp"} {
			if egress, err := torrent.via(proto, a, 1); err == nil {
				t.Errorf("%s to %s over %s with no member left: by %s", torrent.name, a, proto, egress)
			}
		}
	}
	if out, err := torrent.run("dig", "+tries=1", "+time=1", "@127.0.0.1", "closed.other.example", "A"); err == nil && strings.Contains(out, "status: NOERROR") {
		t.Errorf("%s is answered with no member left:\n%s", torrent.name, out)
	}
	g.wantNoneClear(plain...)
	g.wantNoQueryByWAN("closed.other.example")
	backup.wantVia(netlab.ViaWAN2, listed...)
}

// wantChecked wants `check --active` to print lines that begin so.
func (g *gate) wantChecked(lines ...string) {
	g.t.Helper()
	p := g.Box.Launch(binary, "check", "--active")
	exitOf(g.t, p)
	for _, l := range lines {
		if !strings.Contains("\n"+p.Output(), "\n"+l) {
			g.t.Errorf("no line %q:\n%s", l, p.Output())
		}
	}
}
