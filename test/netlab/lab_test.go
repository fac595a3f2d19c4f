package netlab

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// checkWAN checks that the client reaches a fresh host via the WAN, both families, TCP and
// UDP, and that the tap counts it.
func checkWAN(t *testing.T, l *Lab) {
	t.Helper()
	for _, to := range l.World.Addresses("plain.example").All() {
		l.Reset()
		egress, err := l.Client.Connect(to)
		if err != nil || egress != ViaWAN {
			t.Errorf("TCP to %s: by %q (%v), want wan", to, egress, err)
		}
		egress, err = l.Client.Ask(to)
		if err != nil || egress != ViaWAN {
			t.Errorf("UDP to %s: by %q (%v), want wan", to, egress, err)
		}
		if n := len(l.ISP.Clear(wire.To(to), wire.Proto(unix.IPPROTO_UDP))); n != 1 {
			t.Errorf("%d clear UDP packets to %s, want 1", n, to)
		}
		if n := len(l.ISP.Clear(wire.To(to), wire.Proto(unix.IPPROTO_TCP))); n < 3 {
			t.Errorf("%d clear TCP packets to %s, want a handshake", n, to)
		}
		if p := l.Tunnel.Inside(wire.To(to)); len(p) != 0 {
			t.Errorf("in the tunnel: %v", p)
		}
	}
}

func TestPlainForwarding(t *testing.T) {
	t.Parallel()
	start := time.Now()
	l := New(t, Options{})
	t.Logf("lab made in %v", time.Since(start))
	checkWAN(t, l)
	if p := l.ISP.Foreign(); len(p) != 0 {
		t.Errorf("via the WAN with a foreign source: %v", p)
	}
}

func TestNoWANNAT(t *testing.T) {
	t.Parallel()
	l := New(t, Options{NoWANNAT: true, GoResolvers: true})
	to := l.World.Addresses("plain.example").V4
	if egress, err := l.Client.AskWithin(to, 100*time.Millisecond); err == nil {
		t.Errorf("an answer without NAT, by %s", egress)
	}
	if n := len(l.ISP.Foreign(wire.To(to), wire.From(l.Plan.Client.V4))); n != 1 {
		t.Errorf("%d packets with the client's address, want 1", n)
	}
}

func TestNotRouting(t *testing.T) {
	t.Parallel()
	l := New(t, Options{NotRouting: true, GoResolvers: true})
	for _, to := range l.World.Addresses("plain.example").All() {
		if egress, err := l.Client.AskWithin(to, 100*time.Millisecond); err == nil {
			t.Errorf("a box that does not forward: %s by %s", to, egress)
		}
		if egress, err := l.Box.Ask(to); err != nil || egress != ViaWAN {
			t.Errorf("from the box itself to %s: by %q (%v)", to, egress, err)
		}
	}
}

// connectByHand makes the box's end of a tunnel as an operator would, with nothing
// of the product.
func connectByHand(t *testing.T, l *Lab, v *Tunnel, link string, mark int) {
	t.Helper()
	l.Box.Start("wireguard-go", "--foreground", link).AwaitWireGuard(link)
	conf := v.Conf(ConfOptions{DNS: "none"})
	var stripped strings.Builder
	for line := range strings.Lines(conf) {
		if !strings.HasPrefix(line, "Address") {
			stripped.WriteString(line)
		}
	}
	l.Box.Run("wg", "setconf", link, l.Box.Write(link+".conf", stripped.String()))
	l.Box.IP(fmt.Sprintf("addr add %s/32 dev %s", v.Near.V4, link), fmt.Sprintf("addr add %s/128 dev %s nodad", v.Near.V6, link),
		"link set "+link+" mtu 1420 up",
		fmt.Sprintf("route add default dev %s table %d", link, 100+mark), fmt.Sprintf("route add ::/0 dev %s table %d", link, 100+mark),
	)
	for _, family := range []string{"-4", "-6"} {
		l.Box.Run("ip", family, "rule", "add", "fwmark", fmt.Sprint(mark), "table", fmt.Sprint(100+mark))
	}
	l.Box.NFT(fmt.Sprintf(`table inet hand_%[1]s {
		set vpn4 { type ipv4_addr; }
		set vpn6 { type ipv6_addr; }
		chain prerouting { type filter hook prerouting priority mangle;
			iifname br-lan ip daddr @vpn4 meta mark set %[2]d
			iifname br-lan ip6 daddr @vpn6 meta mark set %[2]d
		}
		chain translate { type nat hook postrouting priority srcnat; oifname %[1]s masquerade; }
	}`, link, mark))
}

func listByHand(l *Lab, link string, p Pair) {
	l.Box.Sh(fmt.Sprintf("nft add element inet hand_%[1]s vpn4 '{ %[2]s }'; nft add element inet hand_%[1]s vpn6 '{ %[3]s }'", link, p.V4, p.V6))
}

func TestTunnelByHand(t *testing.T) {
	t.Parallel()
	Need(t, "wireguard-go")
	l := New(t, Options{Tunnels: 2})
	connectByHand(t, l, l.Tunnels[0], "wg0", 1)
	connectByHand(t, l, l.Tunnels[1], "wg1", 2)
	listed, listed2 := l.World.Addresses("listed.example"), l.World.Addresses("listed2.example")
	listByHand(l, "wg0", listed)
	listByHand(l, "wg1", listed2)

	for n, hosts := range []Pair{listed, listed2} {
		for _, to := range hosts.All() {
			l.Reset()
			for kind, reach := range map[string]func(netip.Addr) (Egress, error){"TCP": l.Client.Connect, "UDP": l.Client.Ask} {
				if egress, err := reach(to); err != nil || egress != ViaTunnel(n) {
					t.Errorf("%s to %s: by %q (%v), want %s", kind, to, egress, err, ViaTunnel(n))
				}
			}
			if n := len(l.Tunnels[n].Inside(wire.To(to), wire.Proto(unix.IPPROTO_UDP))); n != 1 {
				t.Errorf("%d UDP packets to %s in the tunnel, want 1", n, to)
			}
			if p := l.ISP.Clear(); len(p) != 0 {
				t.Errorf("in the clear: %v", p)
			}
			if len(l.ISP.Encrypted()) == 0 {
				t.Error("no encrypted packet seen")
			}
		}
	}
	checkWAN(t, l)
	checkSilence(t, l, listed)
	checkInbound(t, l)
}

func checkSilence(t *testing.T, l *Lab, listed Pair) {
	t.Helper()
	l.Tunnel.Silence(true)
	for _, to := range listed.All() {
		if egress, err := l.Client.AskWithin(to, 200*time.Millisecond); err == nil {
			t.Errorf("a silent far end let %s through by %s", to, egress)
		}
	}
	if len(l.ISP.Encrypted()) == 0 {
		t.Error("the tunnel does not try")
	}
	l.Tunnel.Silence(false)
	for _, to := range listed.All() {
		if egress, err := l.Client.Ask(to); err != nil || egress != ViaVPN {
			t.Errorf("after the silence: %s by %q (%v)", to, egress, err)
		}
	}
}

// checkInbound reaches the box from the internet through the tunnel.
func checkInbound(t *testing.T, l *Lab) {
	t.Helper()
	l.Tunnel.Forward(7777)
	c, err := l.Box.ListenPacket("udp", "[::]:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from := l.World.Addresses("caller.example")
	for i, to := range l.Tunnel.Exit.All() {
		conn, err := l.Internet.ListenPacket("udp", netip.AddrPortFrom(from.All()[i], 0).String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.WriteTo([]byte("hello"), udpAddr(to, 7777)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if err := c.SetReadDeadline(time.Now().Add(dialLimit)); err != nil {
			t.Fatal(err)
		}
		_, source, err := c.ReadFrom(make([]byte, 100))
		if err != nil || unmap(source) != from.All()[i] {
			t.Errorf("inbound from %s: source %v (%v)", from.All()[i], source, err)
		}
	}
}
