package test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/hosts"
)

// foreignTunnel is a tunnel of another program, whose far end is the first provider's host.
type foreignTunnel struct {
	*gate
	near, far netlab.Pair
	index     int // of tun0 when it was last seen to work
}

func pairOf(v4, v6 string) netlab.Pair {
	return netlab.Pair{V4: netip.MustParseAddr(v4), V6: netip.MustParseAddr(v6)}
}

// withForeignTunnel starts nameroute with listed names by tun0, which is not there, with the
// route's file and the rules for running such programs that docs/tunnels.md has.
func withForeignTunnel(t *testing.T, probe string) *foreignTunnel {
	t.Helper()
	f := &foreignTunnel{gate: bareGate(t, netlab.Options{GoResolvers: true}), near: pairOf("10.99.0.2", "fd99::2"), far: pairOf("10.99.0.1", "fd99::1")}
	f.Box.WriteFiles(netlab.Setup{NoTunnel: true})
	f.Box.Write("gateway.yaml", fmt.Sprintf(`lan: [br-lan]
wan: auto
exclude: [%s, "%s"]
routes:
  vpn: {interface: tun0, probe: %s, every: 1s, fails: 2, good: 1}
lists:
  mine: {file: %s/mine.txt}
`, f.Tunnel.Endpoint.V4, f.Tunnel.Endpoint.V6, probe, f.Box.Dir))
	f.p = f.Box.StartProduct(binary, "run")
	f.logs(f.p)
	f.awaitControl("run")
	return f
}

// wantWorks waits until names and packets of both families take the tunnel, clients' and own ones.
func (f *foreignTunnel) wantWorks(what string) {
	f.t.Helper()
	f.Box.AwaitNames("ready.listed.example", 60*time.Second)
	addrs := f.resolve("www.listed.example")
	for _, from := range []*netlab.Host{f.Client, f.Box.Host} {
		f.awaitVia(from, netlab.ViaVPN, 60*time.Second, addrs...)
	}
	f.Box.Do(func() {
		link, err := net.InterfaceByName("tun0")
		if err != nil || link.Index == f.index {
			f.t.Errorf("%s: tun0 is %+v, %v; want another one than number %d", what, link, err, f.index)
		} else {
			f.index = link.Index
		}
	})
}

// wantShut waits until the route is down, and wants no packet to a listed name to get anywhere.
func (f *foreignTunnel) wantShut(what string) {
	f.t.Helper()
	f.awaitDown(what)
	for _, from := range []*netlab.Host{f.Client, f.Box.Host} {
		f.wantClosed(from, f.World.Addresses("www.listed.example").All()...)
	}
}

func (f *foreignTunnel) awaitDown(what string) {
	f.t.Helper()
	f.awaitStatus(func(s page, _ int) error {
		for _, r := range s.Routes {
			if r.Name == "vpn" {
				return netlab.Check(r.State == "down", "%s: route vpn is %s", what, r.State)
			}
		}
		return fmt.Errorf("no route vpn")
	})
}

// wantNothingLeft wants that of listed names and of the tunnel's inside nothing has left in the clear.
func (f *foreignTunnel) wantNothingLeft() {
	f.t.Helper()
	f.wantNoneClear(append(f.World.Addresses("www.listed.example").All(), f.far.All()...)...)
	f.wantNoQueryByWAN("listed.example")
}

// Guarantee 4: kill switch.
// OpenVPN with TLS, run as docs/tunnels.md says, against a server that pushes a default route and
// DNS: closed before it runs, while it is killed and while its server is, and back by
// itself with tun0 of another index each time. Then the kernel's own tunnels take the place of tun0,
// GRE and IPIP, where the kernel has them. Nothing of the route leaves by the WAN.
func TestTunnelsOfOtherDaemons(t *testing.T) {
	t.Parallel()
	netlab.Need(t, "openvpn")
	f := withForeignTunnel(t, "[ping 10.99.0.1]")
	f.awaitDown("OpenVPN does not run yet")
	server, client := f.openVPN()
	started := f.Tunnel.Start(server...)
	program := f.Box.Start(client...)
	f.wantWorks("OpenVPN")
	defaults := f.Box.Run("ip", "route") + f.Box.Run("ip", "-6", "route")
	if strings.Contains(defaults, "0.0.0.0/1") || strings.Contains(defaults, "2000::/") {
		t.Errorf("the pushed routes were taken:\n%s", defaults)
	}
	program.Kill()
	f.wantShut("OpenVPN is killed")
	program = f.Box.Start(client...)
	f.wantWorks("OpenVPN again")
	started.Kill()
	f.wantShut("OpenVPN's server is killed")
	f.Tunnel.Start(server...)
	f.wantWorks("OpenVPN's server again")
	program.Kill()
	f.wantShut("OpenVPN is gone")
	f.wantNothingLeft()

	for _, kind := range []string{"gre", "ipip"} {
		if why := f.kernelTunnel(kind); why != nil {
			t.Logf("%s: not tried: %v", kind, why)
			continue
		}
		f.Box.AwaitNames("ready.listed.example", 60*time.Second)
		f.awaitVia(f.Client, netlab.ViaVPN, 60*time.Second, f.World.Addresses("www.listed.example").V4)
		f.awaitVia(f.Box.Host, netlab.ViaVPN, 60*time.Second, f.World.Addresses("www.listed.example").V4)
		f.Box.Run("ip", "link", "del", "tun0")
		f.wantShut(kind + " is gone")
		f.wantNothingLeft()
	}
}

// openVPN returns the commands of a server on the provider's host and of a client on the box.
func (f *foreignTunnel) openVPN() (server, client []string) {
	f.t.Helper()
	cert, key := hosts.NewAuthority(f.t, f.Box.Dir).Files("openvpn.example")
	common := []string{"--dev-type", "tun", "--proto", "udp", "--ca", filepath.Join(f.Box.Dir, "ca.pem"), "--cert", cert, "--key", key, "--verb", "3"}
	server = append([]string{"openvpn", "--dev", "tun9", "--port", "1194", "--local", f.Tunnel.Endpoint.V4.String(), "--tls-server", "--dh", "none",
		"--mode", "server", "--topology", "subnet", "--ifconfig", f.far.V4.String(), "255.255.255.0", "--ifconfig-pool", f.near.V4.String(), "10.99.0.20", "255.255.255.0",
		"--ifconfig-ipv6", f.far.V6.String() + "/64", "fd99::2", "--ifconfig-ipv6-pool", f.near.V6.String() + "/64",
		"--push", "topology subnet", "--push", "redirect-gateway def1 ipv6", "--push", "route-gateway " + f.far.V4.String(), "--push", "dhcp-option DNS " + f.far.V4.String(),
		"--keepalive", "1", "3", "--duplicate-cn"}, common...)
	client = append([]string{"openvpn", "--dev", "tun0", "--remote", f.Tunnel.Endpoint.V4.String(), "1194", "--nobind", "--tls-client", "--pull", "--route-nopull",
		"--connect-retry", "1", "1"}, common...)
	return server, client
}

// kernelTunnel makes tun0 and its far end of a kind that the kernel itself has; an error says that it has not.
func (f *foreignTunnel) kernelTunnel(kind string) error {
	f.t.Helper()
	ends := []struct {
		at            *netlab.Host
		link          string
		local, remote netlab.Pair
		own           netlab.Pair
	}{
		{f.Tunnel.Host, "k" + kind, f.Tunnel.Endpoint, f.BoxWAN, f.far},
		{f.Box.Host, "tun0", f.BoxWAN, f.Tunnel.Endpoint, f.near},
	}
	for _, e := range ends {
		if _, err := e.at.Exec("ip", "link", "add", e.link, "type", kind, "local", e.local.V4.String(), "remote", e.remote.V4.String()); err != nil {
			return err
		}
		e.at.IP(fmt.Sprintf("addr add %s/24 dev %s", e.own.V4, e.link), "link set "+e.link+" up")
	}
	return nil
}

// Guarantee 4: kill switch.
// A proxy's tun: tun2socks before a shadowsocks server. It is run by `make peers-test`, which builds tun2socks.
func TestPeerTun2socks(t *testing.T) {
	t.Parallel()
	tun2socks := filepath.Join(os.Getenv("NAMEROUTE_PEERS"), "tun2socks")
	if _, err := os.Stat(tun2socks); os.Getenv("NAMEROUTE_PEERS") == "" || err != nil {
		t.Skip("no tun2socks in $NAMEROUTE_PEERS: make peers-test")
	}
	netlab.Need(t, "ss-server")
	f := withForeignTunnel(t, "[dns www.listed.example 30.9.9.9]")
	f.awaitDown("tun2socks does not run yet")
	f.Tunnel.Start("ss-server", "-s", f.Tunnel.Endpoint.V4.String(), "-p", "8388", "-k", "secret", "-m", "chacha20-ietf-poly1305", "-u")
	run := func() *netlab.Process {
		f.Box.IP("tuntap add dev tun0 mode tun", fmt.Sprintf("addr add %s/32 dev tun0", f.near.V4), fmt.Sprintf("addr add %s/128 dev tun0 nodad", f.near.V6), "link set tun0 up")
		return f.Box.Start(tun2socks, "-device", "tun0", "-interface", "wan0", "-proxy", fmt.Sprintf("ss://chacha20-ietf-poly1305:secret@%s:8388", f.Tunnel.Endpoint.V4))
	}
	program := run()
	f.wantWorks("tun2socks")
	program.Kill()
	f.wantShut("tun2socks is killed")
	f.Box.Run("ip", "link", "del", "tun0")
	f.wantShut("tun0 is gone")
	run()
	f.wantWorks("tun2socks again")
	f.wantNothingLeft()
}
