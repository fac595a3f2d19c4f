package firewall_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/learned"
)

// size is how much a configuration has.
type size struct{ routes, classes int }

// spec is the lab's with so many routes and classes of clients. The route vpn is the last
// one, so that everything that is looked at before is; the client is of the last class.
func (s size) spec() firewall.Spec {
	spec := labSpec()
	spec.Egress = map[string]firewall.Egress{}
	var routes []gateway.Route
	for i := range s.routes - 1 {
		r := route(fmt.Sprintf("r%d", i), i+10)
		spec.Egress[r.Name] = firewall.Egress{Links: []string{"far" + r.Name}, Inbound: true, Source: firewall.Source{SNAT4: netip.AddrFrom4([4]byte{10, 3, 0, byte(i)})}, MTU: 1420}
		if i < s.classes-1 {
			r.Clients = []string{fmt.Sprintf("c%d", i)}
		}
		routes = append(routes, r)
	}
	spec.Egress["vpn"] = labSpec().Egress["vpn"]
	spec.Config = config(append(routes, route("vpn", 1))...)
	for i := range s.classes {
		c := gateway.Clients{Name: fmt.Sprintf("c%d", i), Prefixes: prefixes(fmt.Sprintf("192.168.3.%d/32", i), fmt.Sprintf("fd00:3::%x/128", i))}
		spec.Config.Clients = append(spec.Config.Clients, c)
	}
	return spec
}

// BenchmarkClassify is what a forwarded packet costs in the kernel, from the client's
// send call to where the far host would read it, by the number of routes and of classes.
// "none" is what it costs without our table, with conntrack. docs/architecture.md has
// figures.
func BenchmarkClassify(b *testing.B) {
	sizes := []size{{1, 0}, {5, 0}, {20, 0}, {20, 20}}
	b.Run("none", func(b *testing.B) {
		lab(b)
		sh(b, "nft 'table inet bench { chain p { type filter hook prerouting priority 0; ct state invalid drop; }; chain n { type nat hook postrouting priority 100; }; }'")
		b.Cleanup(func() { sh(b, "nft delete table inet bench") })
		benchPackets(b)
	})
	for _, s := range sizes {
		b.Run(fmt.Sprintf("routes=%d/classes=%d", s.routes, s.classes), func(b *testing.B) {
			lab(b)
			k := open(b, learned.Options{})
			apply(b, k, s.spec())
			learn(b, k, vpn, time.Hour, "8.8.8.8")
			benchPackets(b)
		})
	}
}

func benchPackets(b *testing.B) {
	sh(b, "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_max=1000000")
	for _, to := range []struct{ name, addr string }{{"listed", "8.8.8.8"}, {"other", "9.9.9.9"}} {
		b.Run(to.name+"/flow", func(b *testing.B) { send(b, to.addr, func(int) uint16 { return 7 }) })
		b.Run(to.name+"/new", func(b *testing.B) { send(b, to.addr, func(n int) uint16 { return uint16(1000 + n%60000) }) })
	}
}

// send sends from the client, each datagram to the port that is given for its number.
func send(b *testing.B, to string, port func(n int) uint16) {
	flow, err := connect(b, "client", "udp", "", to)
	if err != nil || flow.ask() == "" {
		b.Fatalf("no answer from %s: %v", to, err)
	}
	defer flow.Close()
	for _, ns := range []string{"isp", "vpn"} {
		sh(b, "ip netns exec %s nft 'table inet sink { chain p { type filter hook prerouting priority raw; meta l4proto udp drop; }; }'", ns)
	}
	defer sh(b, "for ns in isp vpn; do ip netns exec $ns nft delete table inet sink; done")
	raw, err := flow.Conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	at := &unix.SockaddrInet4{Addr: netip.MustParseAddr(to).As4()}
	data := make([]byte, 64)
	var times []time.Duration
	_ = raw.Control(func(fd uintptr) {
		for b.Loop() {
			began := time.Now()
			const burst = 1000
			for n := range burst {
				at.Port = int(port(n + len(times)*burst))
				if err := unix.Sendto(int(fd), data, 0, at); err != nil && err != unix.ECONNREFUSED {
					b.Fatal(err)
				}
			}
			times = append(times, time.Since(began)/burst)
		}
	})
	slices.Sort(times)
	// The best tenth is what the packets cost where the machine did nothing else.
	b.ReportMetric(float64(times[len(times)/10].Nanoseconds()), "ns/packet")
	b.ReportMetric(0, "ns/op")
}
