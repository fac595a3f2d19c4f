//go:build linux

package netlab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/nameroute/nameroute/test/netlab/hosts"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// Options chooses what a lab has. The zero value is what most tests want: a router
// that already forwards and translates LAN traffic, one provider, and Debian's
// resolvers.
type Options struct {
	Tunnels     int  // VPN providers; 0 means one
	NotRouting  bool // the box is as installed: it does not forward
	NoWANNAT    bool // it does not translate what it forwards from LAN to WAN
	TellUplinks bool // Egress tells what comes by the link of AddWAN from what comes by wan0
	GoResolvers bool // the scripted world answers in place of unbound and dnsmasq, which some machines do not have
}

// Lab is a small internet with a home gateway in it; doc.go has the picture. Labs
// share nothing and may run side by side. A lab ends with its test.
type Lab struct {
	Plan
	Client   *Host
	Box      *Box
	ISP      *ISP
	Internet *Host
	Tunnel   *Tunnel   // the first provider
	Tunnels  []*Tunnel // all
	World    *World    // what the internet's names mean
	Unbound  *Resolver // nil with GoResolvers
	Dnsmasq  *Resolver // the ISP's resolver; nil with GoResolvers
	Dir      string    // temporary files of this lab

	t           TB
	ca          *hosts.Authority
	servers     []*NameServer
	tunnels     int
	tellUplinks bool
	marks       atomic.Int64 // markers that Settle has sent
}

// New builds a lab and waits until all in it answers. Missing tools skip the test,
// as Need does.
func New(t TB, o Options) *Lab {
	t.Helper()
	Need(t, "ip", "nft", "wg")
	if !o.GoResolvers {
		Need(t, "unbound", "dnsmasq")
	}
	l := &Lab{Plan: NewPlan(), t: t, tunnels: max(o.Tunnels, 1), tellUplinks: o.TellUplinks}
	l.Dir = tempDir(t)
	l.ca = hosts.NewAuthority(t, l.Dir)
	l.Client, l.Internet = l.host("client"), l.host("internet")
	l.ISP = &ISP{Host: l.host("isp")}
	l.Box = newBox(l)

	l.wireLAN()
	l.wireWAN()
	l.wireInternet()
	l.routeBox(o)
	l.ISP.Tap = NewTap(l.ISP.Namespace, "box0")
	l.takeMarks()
	l.World = newWorld(t, l.Egress)
	l.serve(o)
	for n := range l.tunnels {
		l.Tunnels = append(l.Tunnels, l.newTunnel(n))
	}
	l.Tunnel = l.Tunnels[0]
	l.await()
	return l
}

func tempDir(t TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "netlab")
	if err != nil {
		t.Fatalf("netlab: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("netlab: %v", err)
		}
	})
	return dir
}

// Host makes one more machine, with no cable yet.
func (l *Lab) Host(name string) *Host { return l.host(name) }

// host makes a machine in which IPv6 addresses are usable at once and asymmetric
// routing is not mistaken for an attack.
func (l *Lab) host(name string) *Host {
	n := NewNamespace(l.t, name)
	for _, c := range []string{"all", "default"} {
		n.Sysctl("net/ipv6/conf/"+c+"/accept_dad=0", "net/ipv6/conf/"+c+"/accept_ra=0",
			"net/ipv4/conf/"+c+"/rp_filter=0")
	}
	return &Host{Namespace: n, lab: l}
}

func (l *Lab) wireLAN() {
	Cable(l.Client.Namespace, "eth0", l.Box.Namespace, "lan0")
	l.Box.IP("link add br-lan type bridge mcast_snooping 0", "link set br-lan up", "link set lan0 master br-lan",
		"addr add 192.168.77.1/24 dev br-lan", "addr add fd77::1/64 dev br-lan nodad")
	l.Client.IP("addr add 192.168.77.2/24 dev eth0", "addr add fd77::2/64 dev eth0 nodad",
		"route add default via 192.168.77.1", "route add ::/0 via fd77::1")
	l.Client.resolveBy(l.BoxLAN.All()...)
}

func (l *Lab) wireWAN() {
	Cable(l.Box.Namespace, "wan0", l.ISP.Namespace, "box0")
	forward(l.ISP.Namespace)
	// The ISP's end keeps its address while the cable is unplugged.
	l.ISP.Sysctl("net/ipv6/conf/all/keep_addr_on_down=1")
	l.ISP.IP("addr add 31.0.1.1/24 dev box0", "addr add 2a0e:1::1/64 dev box0 nodad")
	l.connectWAN()
	l.Box.resolveBy(l.Plan.ISP.All()...)
}

func (l *Lab) wireInternet() {
	Cable(l.ISP.Namespace, "net0", l.Internet.Namespace, "isp0")
	l.ISP.IP("addr add 31.0.2.1/30 dev net0", "addr add 2a0e:2::1/64 dev net0 nodad",
		"route add 30.0.0.0/8 via 31.0.2.2", "route add 2a0f::/16 via 2a0e:2::2")
	// Every address of a local prefix is the host's own; IPv6 sockets may still only
	// bind to single addresses of it with ip_nonlocal_bind.
	l.Internet.Sysctl("net/ipv6/ip_nonlocal_bind=1")
	l.Internet.IP("addr add 31.0.2.2/30 dev isp0", "addr add 2a0e:2::2/64 dev isp0 nodad",
		"route add local 30.0.0.0/8 dev lo", "route add local 2a0f::/16 dev lo",
		"route add 31.0.0.0/16 via 31.0.2.1", "route add 2a0e::/16 via 2a0e:2::1")
}

// routeBox makes the box the router that it was before nameroute came.
func (l *Lab) routeBox(o Options) {
	if !o.NotRouting {
		forward(l.Box.Namespace)
	}
	if !o.NoWANNAT {
		l.Box.NFT(`table inet box_firewall {
			chain postrouting { type nat hook postrouting priority srcnat; oifname { "wan0", "wan1", "br-wan", "ppp0" } masquerade; }
		}`)
	}
}

// forward makes the namespace a router.
func forward(n *Namespace) {
	n.Sysctl("net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")
}

func (l *Lab) serve(o Options) {
	l.ca.Serve(l.Internet.Namespace)
	l.ca.Serve(l.ISP.Namespace)
	for _, at := range []Pair{l.Plan.World, l.World2, authoritative()} {
		l.serveWorld(l.Internet.Namespace, at, l.ca)
	}
	if o.GoResolvers {
		l.serveWorld(l.Internet.Namespace, l.Plan.Unbound, l.ca)
		l.serveWorld(l.ISP.Namespace, l.Plan.ISP, nil)
		return
	}
	l.Unbound = l.startUnbound()
	l.Dnsmasq = l.startDnsmasq()
}

// await returns when Debian's resolvers and the far ends are ready.
func (l *Lab) await() {
	l.t.Helper()
	for _, r := range []*Resolver{l.Unbound, l.Dnsmasq} {
		if r != nil {
			r.await()
		}
	}
	l.Reset()
}

// CAFile is the certificate, in PEM, that the lab's TLS servers are trusted by.
func (l *Lab) CAFile() string { return l.ca.File }

// Reset forgets all packets and queries so far.
func (l *Lab) Reset() {
	l.t.Helper()
	for _, tap := range append([]*wire.Tap{l.ISP.Tap}, l.ISP.more...) {
		tap.Reset()
	}
	for _, tunnel := range l.Tunnels {
		tunnel.Tap.Reset()
	}
	l.World.Reset()
	for _, r := range []*Resolver{l.Unbound, l.Dnsmasq} {
		if r != nil {
			r.Reset()
		}
	}
}

// Egress tells by a packet's source address by which egress it reached the internet.
func (l *Lab) Egress(from netip.Addr) Egress {
	from = from.Unmap()
	switch {
	case l.tellUplinks && within(l.WAN[2:4], from):
		return ViaWAN2
	case within(l.WAN, from) && !l.Plan.ISP.Has(from): // BoxWAN, or made from an advertisement
		return ViaWAN
	case l.Plan.Client.Has(from) || l.BoxLAN.Has(from):
		return ViaLAN
	}
	for n := range l.tunnels {
		if tunnel := planTunnel(n); tunnel.Exit.Has(from) || tunnel.Near.Has(from) {
			return ViaTunnel(n)
		}
	}
	return Egress("from " + from.String())
}

// write stores a file of the lab and returns its path.
func (l *Lab) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatalf("netlab: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.TrimLeft(text, "\n")), 0o600); err != nil {
		l.t.Fatalf("netlab: %v", err)
	}
	return path
}

// replace is write for files that a program watches: the new content appears at once.
func (l *Lab) replace(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.Dir, name)
	if err := os.Rename(l.write(name+".new", text), path); err != nil {
		l.t.Fatalf("netlab: %v", err)
	}
	return path
}
