package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// Guarantees 4 and 6, for classes of clients with a route for all they send. One whose route is
// the WAN is exempt from lists, from what others have learned, and from the default: its names and packets take the WAN.
// One whose route is a tunnel takes it whatever the destination, and nothing while it is silent.
// For everybody else nothing changes. Both families, by MAC address and by prefix.
func TestClientsByRoute(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	other, guest := g.lanHost("192.168.77.5", "fd77::5"), g.houseClient("guest", "lan2", "192.168.77.6", "fd77::6")
	mac := strings.TrimSpace(g.Client.Run("cat", "/sys/class/net/eth0/address"))
	g.Box.WriteFiles(netlab.Setup{Gateway: fmt.Sprintf(`redirect_dns: on
clients:
  laptop: {mac: [%q], route: wan}
  guests: {prefix: [192.168.77.6, "fd77::6"], route: vpn}
`, mac)})
	g.Box.Write("Corefile", fmt.Sprintf(`. {
    clients laptop
    cache
    upstream wan
}
. {
    clients guests
    cache
    upstream vpn %s
}
`, g.Plan.World.V4)+g.read("Corefile"))
	g.startAnswering()
	want := func(from *netlab.Host, egress netlab.Egress, names ...string) {
		t.Helper()
		for _, name := range names {
			g.Reset()
			g.wantAt(from, name, egress)
		}
	}
	const listed, plain = "www.listed.example", "www.other.example"
	want(other, netlab.ViaVPN, listed)
	want(other, netlab.ViaWAN, plain)
	want(g.Client, netlab.ViaWAN, listed, plain)
	want(guest, netlab.ViaVPN, listed, plain)

	if out := g.explain(listed); !strings.Contains(out, "clients.laptop.route: it takes all that the class sends") {
		t.Errorf("explain does not say why:\n%s", out)
	}

	// The default is no matter of theirs.
	g.Box.Write("gateway.yaml", "default: {clients: vpn}\n"+g.read("gateway.yaml"))
	g.hangUp("reload complete")
	g.awaitVia(other, netlab.ViaVPN, backWithin, g.World.Addresses("moved.example").All()...)
	want(g.Client, netlab.ViaWAN, listed, plain, "fresh.listed.example")

	g.Reset()
	g.Tunnel.Silence(true)
	only := g.addresses(listed, plain)
	g.wantClosed(guest, only...)
	g.wantNoneClear(only...)
	want(g.Client, netlab.ViaWAN, listed, plain)
}
