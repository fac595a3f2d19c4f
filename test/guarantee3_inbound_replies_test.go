package test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Ports of servers that the internet reaches.
const (
	portBox uint16 = 8081 + iota // on the box
	portLAN                      // on the client, by DNAT on the box
)

// Guarantee 3: a flow keeps its route.
// A connection that comes in via the tunnel is answered through the tunnel, and one that comes
// in via the WAN through the WAN, on the box and, translated, on a LAN host; also where the
// remote address is in the sets.
func TestInboundRepliesGoBack(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{Route: "inbound: accept"})
	for _, port := range []uint16{portBox, portLAN} {
		g.Tunnel.Forward(port)
	}
	g.Box.NFT(fmt.Sprintf(`table inet port_forward {
		chain prerouting {
			type nat hook prerouting priority dstnat
			iifname { wg0, wan0 } meta nfproto ipv4 meta l4proto { tcp, udp } th dport %[1]d dnat ip to %[2]s
			iifname { wg0, wan0 } meta nfproto ipv6 meta l4proto { tcp, udp } th dport %[1]d dnat ip6 to %[3]s
		}
	}`, portLAN, g.Plan.Client.V4, g.Plan.Client.V6))
	for _, at := range []netip.Addr{g.Tunnel.Near.V4, g.Tunnel.Near.V6, g.BoxWAN.V4, g.BoxWAN.V6} {
		g.serveEcho(g.Box.Host, netip.AddrPortFrom(at, portBox))
	}
	for _, at := range g.Plan.Client.All() {
		g.serveEcho(g.Client, netip.AddrPortFrom(at, portLAN))
	}
	for _, who := range []struct {
		name string
		from []netip.Addr
	}{
		{"a host whose address is in the sets", g.resolve("www.listed.example")},
		{"a host of no list", g.resolve("www.other.example")},
	} {
		for _, port := range []uint16{portBox, portLAN} {
			for family := range who.from {
				source := who.from[family]
				for egress, to := range map[netlab.Egress]netip.Addr{
					netlab.ViaVPN: g.Tunnel.Exit.All()[family], netlab.ViaWAN: g.BoxWAN.All()[family],
				} {
					g.Reset()
					for _, proto := range []string{"tcp", "udp"} {
						if err := g.call(proto, source, netip.AddrPortFrom(to, port)); err != nil {
							t.Errorf("%s, by %s, port %d, %s: %v", who.name, egress, port, proto, err)
						}
					}
					g.Settle()
					byWAN, byVPN := len(g.ISP.Clear(wire.To(source))), len(g.Tunnel.Inside(wire.To(source)))
					if byWAN > 0 != (egress == netlab.ViaWAN) || byVPN > 0 != (egress == netlab.ViaVPN) {
						t.Errorf("%s, by %s, port %d: answered by %d packets via the WAN and %d via the tunnel", who.name, egress, port, byWAN, byVPN)
					}
				}
			}
		}
	}
	if foreign := g.ISP.Foreign(); len(foreign) > 0 {
		t.Errorf("%d packets left with a source that is not the WAN's, the first: %s", len(foreign), foreign[0])
	}
}

// serveEcho echoes over TCP and UDP until the test ends.
func (g *gate) serveEcho(on *netlab.Host, at netip.AddrPort) {
	g.t.Helper()
	g.t.Cleanup(g.echo(on, at))
}

// echo is serveEcho with an end of its own.
func (g *gate) echo(on *netlab.Host, at netip.AddrPort) (end func()) {
	g.t.Helper()
	l, err := on.Listen("tcp", at.String())
	if err != nil {
		g.t.Fatal(err)
	}
	c, err := on.ListenPacket("udp", at.String())
	if err != nil {
		g.t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				io.Copy(conn, conn) // until the caller is gone
			}()
		}
	}()
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from) // a lost answer fails the caller
		}
	}()
	return func() { l.Close(); c.Close() }
}

// call sends a word from an address of the internet and wants it back.
func (g *gate) call(proto string, source netip.Addr, to netip.AddrPort) error {
	local := net.Addr(net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
	if proto == "udp" {
		local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	conn, err := g.Internet.DialWith(net.Dialer{Timeout: 10 * time.Second, LocalAddr: local}, proto, to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	return echoOnce(conn)
}
