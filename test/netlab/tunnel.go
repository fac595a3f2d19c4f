//go:build linux

package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Tunnel is one VPN provider: the far end of a WireGuard tunnel, which is not our
// code, a router and a resolver behind it. The box's end is for the product to
// make, out of Conf.
type Tunnel struct {
	*Host
	TunnelPlan
	Number int       // from 0
	Domain string    // the endpoint's name: vpn.provider.example, vpn2.provider.example, ...
	Tap    *wire.Tap // inside the tunnel: what has been decrypted and what will be encrypted

	private, boxPrivate, shared wgtypes.Key
}

func (l *Lab) newTunnel(number int) *Tunnel {
	l.t.Helper()
	egress := string(ViaTunnel(number))
	v := &Tunnel{Host: l.host(egress), TunnelPlan: planTunnel(number), Number: number, Domain: egress + ".provider.example"}
	v.keys()
	v.wire()
	v.configure(v.device())
	l.World.Add(fmt.Sprintf("%s. 60 IN A %s", v.Domain, v.Endpoint.V4), fmt.Sprintf("%s. 60 IN AAAA %s", v.Domain, v.Endpoint.V6))
	v.Tap = NewTap(v.Namespace, "wg0")
	l.serveWorld(v.Namespace, v.Far, nil)
	l.ca.Serve(v.Namespace)
	return v
}

func (v *Tunnel) keys() {
	v.t.Helper()
	for _, key := range []*wgtypes.Key{&v.private, &v.boxPrivate, &v.shared} {
		var err error
		if *key, err = wgtypes.GeneratePrivateKey(); err != nil {
			v.t.Fatalf("netlab: WireGuard key: %v", err)
		}
	}
}

// wire connects the provider to the ISP, where the encrypted packets come from, and
// to the internet, where the plain ones go.
func (v *Tunnel) wire() {
	v.t.Helper()
	l, egress := v.lab, v.Name
	gate := func(at Pair) Pair { // the other end of a link has the host number 1
		return Pair{at.V4.Prev(), at.V6.Prev()}
	}
	Cable(v.Namespace, "isp0", l.ISP.Namespace, egress)
	Cable(v.Namespace, "net0", l.Internet.Namespace, egress)
	isp, net := gate(v.Endpoint), gate(v.Exit)
	forward(v.Namespace)
	v.IP(fmt.Sprintf("addr add %s/24 dev isp0", v.Endpoint.V4), fmt.Sprintf("addr add %s/64 dev isp0 nodad", v.Endpoint.V6),
		fmt.Sprintf("addr add %s/24 dev net0", v.Exit.V4), fmt.Sprintf("addr add %s/64 dev net0 nodad", v.Exit.V6),
		fmt.Sprintf("route add 31.0.0.0/16 via %s", isp.V4), fmt.Sprintf("route add 2a0e::/16 via %s", isp.V6),
		fmt.Sprintf("route add 30.0.0.0/8 via %s", net.V4), fmt.Sprintf("route add 2a0f::/16 via %s", net.V6))
	l.ISP.IP(fmt.Sprintf("addr add %s/24 dev %s", isp.V4, egress), fmt.Sprintf("addr add %s/64 dev %s nodad", isp.V6, egress))
	l.Internet.IP(fmt.Sprintf("addr add %s/24 dev %s", net.V4, egress), fmt.Sprintf("addr add %s/64 dev %s nodad", net.V6, egress))
	v.NFT(`table inet provider {
		chain postrouting { type nat hook postrouting priority srcnat; oifname net0 masquerade; }
		chain prerouting { type nat hook prerouting priority dstnat; }
	}`)
}

// device makes wg0: by Debian's wireguard-go, or by the kernel where only that is
// there.
func (v *Tunnel) device() *Process {
	v.t.Helper()
	if _, err := exec.LookPath("wireguard-go"); err == nil {
		return v.Start("wireguard-go", "--foreground", "wg0")
	}
	if _, err := v.Exec("ip", "link", "add", "wg0", "type", "wireguard"); err != nil {
		missing(v.t, "wireguard-go is not installed, and %v", err)
	}
	return nil
}

func (v *Tunnel) configure(p *Process) {
	v.t.Helper()
	conf := v.lab.write(v.Name+"/far.conf", fmt.Sprintf(`
[Interface]
PrivateKey = %s
ListenPort = %d
[Peer]
PublicKey = %s
PresharedKey = %s
AllowedIPs = %s/32, %s/128
`, v.private, v.Port, v.boxPrivate.PublicKey(), v.shared, v.Near.V4, v.Near.V6))
	if p != nil {
		p.AwaitWireGuard("wg0")
	}
	v.Run("wg", "setconf", "wg0", conf)
	v.IP(fmt.Sprintf("addr add %s/24 dev wg0", v.Far.V4), fmt.Sprintf("addr add %s/64 dev wg0 nodad", v.Far.V6),
		"link set wg0 mtu 1420 up")
}

// AwaitWireGuard waits until the program, which is wireguard-go, answers on the control
// socket of a link. It is there a moment before, in which wg(8) would delete it.
func (p *Process) AwaitWireGuard(link string) {
	p.t.Helper()
	Eventually(p.t, patience, func() error {
		var err error
		p.n.on(func() {
			var conn net.Conn
			if conn, err = net.Dial("unix", "/var/run/wireguard/"+link+".sock"); err == nil {
				closeQuietly(conn)
			}
		})
		return Check(err == nil, "netlab: %s: wireguard-go is not ready: %v\n%s", p.name, err, p.Output())
	})
}

// ConfOptions changes the provider's file from what most providers ship.
type ConfOptions struct {
	Endpoint  string // host part; default Endpoint.V4; or Domain, or Endpoint.V6
	Keepalive int    // seconds; 0 writes none
	IPv4Only  bool   // the provider has no IPv6
	DNS       string // default: the far end's resolver, both families; "none" writes none
	Interface string // more lines for [Interface]
	Peer      string // more lines for [Peer]
}

// Conf is the provider's wg0.conf for the box.
func (v *Tunnel) Conf(o ConfOptions) string {
	address, allowed := fmt.Sprintf("%s/32, %s/128", v.Near.V4, v.Near.V6), "0.0.0.0/0, ::/0"
	resolvers := fmt.Sprintf("%s, %s", v.Far.V4, v.Far.V6)
	if o.IPv4Only {
		address, allowed, resolvers = v.Near.V4.String()+"/32", "0.0.0.0/0", v.Far.V4.String()
	}
	endpoint := v.Endpoint.V4.String()
	if o.Endpoint != "" {
		endpoint = o.Endpoint
	}
	if a, err := netip.ParseAddr(endpoint); err == nil && a.Is6() {
		endpoint = "[" + endpoint + "]"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\nAddress = %s\n", v.boxPrivate, address)
	if o.DNS == "" {
		o.DNS = resolvers
	}
	if o.DNS != "none" {
		fmt.Fprintf(&b, "DNS = %s\n", o.DNS)
	}
	b.WriteString(lines(o.Interface))
	fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %s\nPresharedKey = %s\nAllowedIPs = %s\nEndpoint = %s:%d\n",
		v.private.PublicKey(), v.shared, allowed, endpoint, v.Port)
	if o.Keepalive > 0 {
		fmt.Fprintf(&b, "PersistentKeepalive = %d\n", o.Keepalive)
	}
	b.WriteString(lines(o.Peer))
	return b.String()
}

func lines(text string) string {
	if text == "" {
		return ""
	}
	return strings.TrimRight(text, "\n") + "\n"
}

// WireGuardConf is the first provider's file for the box, with its endpoint as an
// address.
func (l *Lab) WireGuardConf() string { return l.Tunnel.Conf(ConfOptions{}) }

// Silence makes the far end drop everything that comes to its endpoint, and send
// nothing, or live again.
func (v *Tunnel) Silence(on bool) {
	v.t.Helper()
	text := "table inet silence\ndelete table inet silence\n"
	if on {
		text += `table inet silence {
			chain in { type filter hook prerouting priority raw; iifname isp0 meta l4proto udp drop; }
			chain out { type filter hook output priority raw; oifname isp0 meta l4proto udp drop; }
		}`
	}
	v.NFT(text)
}

// Forward lets the internet reach a TCP and UDP port of the box through the tunnel:
// what comes to Exit on this port goes to Near, its source unchanged.
func (v *Tunnel) Forward(port uint16) {
	v.t.Helper()
	v.NFT(fmt.Sprintf(`
		add rule inet provider prerouting iifname net0 meta nfproto ipv4 meta l4proto { tcp, udp } th dport %[1]d dnat ip to %[2]s
		add rule inet provider prerouting iifname net0 meta nfproto ipv6 meta l4proto { tcp, udp } th dport %[1]d dnat ip6 to %[3]s
	`, port, v.Near.V4, v.Near.V6))
}

// RouteLAN gives the far end a route through the tunnel to addresses behind the box: the
// operator of a tunnel may send there what he likes.
func (v *Tunnel) RouteLAN(addrs ...netip.Addr) {
	v.t.Helper()
	allowed := fmt.Sprintf("%s/32,%s/128", v.Near.V4, v.Near.V6)
	for _, a := range addrs {
		p := netip.PrefixFrom(a, a.BitLen())
		allowed += "," + p.String()
		v.IP("route add " + p.String() + " dev wg0")
	}
	v.Run("wg", "set", "wg0", "peer", v.BoxKey(), "allowed-ips", allowed)
}

// Inside is the packets that the box sent through the tunnel, as the far end
// decrypted them.
func (v *Tunnel) Inside(filters ...wire.Filter) []wire.Packet {
	v.t.Helper()
	return v.Tap.Packets(append([]wire.Filter{wire.Went(wire.In)}, filters...)...)
}

// BoxKey is the public key by which the provider knows the box.
func (v *Tunnel) BoxKey() string { return v.boxPrivate.PublicKey().String() }
