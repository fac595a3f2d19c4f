package firewall_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/vishvananda/netns"
)

// The lab: this test's own namespace is the box, with our table.
//
//	client 192.168.1.10  ── lan0 ┐              ┌ wan0 ── isp  5.5.5.1   (8.8.8.8, 9.9.9.9, ...)
//	guest  192.168.2.10  ── guest0 ┤    box     ├ tun0 ── vpn  10.2.0.1  (the same addresses)
//	vpnbox 192.168.1.5   ── lan1 ┘ (br-lan: lan0, lan1)
//
// isp, vpn and vpnbox own the same internet addresses, so that what answers tells
// which way a packet went. All have fd00:<n>:: addresses, too, and 2606:4700::1, 2620:fe::9.
const labScript = `
ip netns add client; ip netns add guest; ip netns add vpnbox; ip netns add isp; ip netns add vpn
sysctl -qw net.ipv6.conf.default.accept_dad=0 # or the first seconds have no neighbours
for n in client guest vpnbox isp vpn; do ip netns exec $n sysctl -qw net.ipv6.conf.default.accept_dad=0; done
ip link add br-lan type bridge; ip link set br-lan up
link() { # name, namespace, its addresses, our addresses
  ip link add $1 type veth peer name eth0 netns $2
  for a in $3; do ip -n $2 addr add $a dev eth0 $(case $a in *:*) echo nodad;; esac); done
  ip link set $1 up; ip -n $2 link set eth0 up; ip -n $2 link set lo up
  for a in $4; do ip addr add $a dev $1 $(case $a in *:*) echo nodad;; esac); done; }
link lan0 client '192.168.1.10/24 fd00:1::10/64' ''
link lan1 vpnbox '192.168.1.5/24 fd00:1::5/64' ''
ip link set lan0 master br-lan; ip link set lan1 master br-lan
ip addr add 192.168.1.1/24 dev br-lan; ip addr add fd00:1::1/64 dev br-lan nodad
link guest0 guest '192.168.2.10/24 fd00:2::10/64' '192.168.2.1/24 fd00:2::1/64'
link wan0 isp '5.5.5.1/24 fd00:5::1/64' '5.5.5.2/24 fd00:5::2/64'
link tun0 vpn '10.2.0.1/24 fd00:a::1/64' '10.2.0.2/24 fd00:a::2/64'
for n in client guest; do
  ip -n $n route add default via $(ip -n $n -4 -o addr show dev eth0 | sed 's/.*inet \(.*\)\.10\/.*/\1.1/')
  ip -n $n route add default via $(ip -n $n -6 -o addr show dev eth0 scope global | sed 's/.*inet6 \(.*\)::10\/.*/\1::1/'); done
for n in isp vpn vpnbox; do
  for a in 8.8.8.8/32 9.9.9.9/32 198.19.0.9/32 2606:4700::1/128 2620:fe::9/128 2001:db8::9/128; do ip -n $n addr add $a dev lo $(case $a in *:*) echo nodad;; esac); done; done
ip -n isp route add 192.168.0.0/16 via 5.5.5.2; ip -n isp route add fd00::/30 via fd00:5::2
ip -n vpn route add 192.168.0.0/16 via 10.2.0.2; ip -n vpn route add fd00::/30 via fd00:a::2
ip route add default via 5.5.5.1; ip route add default via fd00:5::1
# as gateway/policy makes them
for f in -4 -6; do
  ip $f rule add not fwmark 0/0x7f000000 lookup main suppress_prefixlength $([ $f = -4 ] && echo 1 || echo 7) pref 7200
  ip $f rule add fwmark 0x01000000/0x7f000000 lookup 7201 pref 7201
  ip $f rule add fwmark 0x03000000/0x7f000000 lookup 7203 pref 7203
  ip $f rule add fwmark 0x7f000000/0x7f000000 lookup 7327 pref 7327
  for t in 7201 7203 7327; do ip $f route add unreachable default metric 4294967295 table $t; done; done
ip route add default via 10.2.0.1 dev tun0 table 7201; ip route add default via fd00:a::1 dev tun0 table 7201
ip route add default via 192.168.1.5 dev br-lan table 7203; ip route add default via fd00:1::5 dev br-lan table 7203
ip route add default via 5.5.5.1 dev wan0 table 7327; ip route add default via fd00:5::1 dev wan0 table 7327
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0
for d in tun0 wan0 br-lan guest0; do sysctl -qw net.ipv4.conf.$d.rp_filter=2; done
`

const labRemove = `
for f in -4 -6; do for p in 7200 7201 7203 7327; do ip $f rule del pref $p || :; done; for t in 7201 7203 7327; do ip $f route flush table $t || :; ip $f route del unreachable default metric 4294967295 table $t 2>/dev/null || :; done; done
for l in lan0 lan1 guest0 wan0 tun0 br-lan; do ip link del $l || :; done; for n in client guest vpnbox isp vpn; do ip netns del $n || :; done; conntrack -F 2>/dev/null || :`

// lab builds the topology and serves every internet address of every namespace over
// UDP and TCP, port 7: the answer is the namespace's name and the asker's address.
func lab(t testing.TB) {
	t.Helper()
	netlab.Need(t, "nft", "ip", "conntrack", "sysctl")
	t.Cleanup(func() { sh(t, "%s", labRemove) })
	sh(t, "%s", labScript)
	internet := []string{"8.8.8.8", "9.9.9.9", "198.19.0.9", "2606:4700::1", "2620:fe::9", "2001:db8::9"}
	for ns, more := range map[string][]string{
		"isp": internet, "vpn": internet, "vpnbox": internet,
		"client": {"192.168.1.10", "fd00:1::10"}, "guest": {"192.168.2.10"},
	} {
		for _, a := range more {
			serve(t, ns, netip.MustParseAddr(a), 7)
		}
	}
}

// inNamespace runs f, which opens sockets, in a named namespace: a socket stays in the
// namespace that it was made in.
func inNamespace(t testing.TB, name string, f func()) {
	t.Helper()
	if name == "" {
		f()
		return
	}
	errs := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: a thread that was elsewhere ends with its goroutine
		ns, err := netns.GetFromName(name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			f()
		}
		errs <- err
	}()
	if err := <-errs; err != nil {
		t.Fatalf("namespace %s: %v", name, err)
	}
}

func serve(t testing.TB, ns string, a netip.Addr, port uint16) {
	t.Helper()
	where := netip.AddrPortFrom(a, port)
	var l net.Listener
	var u net.PacketConn
	var err error
	inNamespace(t, ns, func() {
		if l, err = net.Listen("tcp", where.String()); err == nil {
			u, err = net.ListenPacket("udp", where.String())
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); u.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					fmt.Fprintf(c, "%s %s\n", ns, host(c.RemoteAddr()))
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(packetTo{u, from}, "%s %s\n", ns, host(from))
		}
	}()
}

type packetTo struct {
	net.PacketConn
	to net.Addr
}

func (p packetTo) Write(b []byte) (int, error) { return p.WriteTo(b, p.to) }

func host(a net.Addr) string { return netip.MustParseAddrPort(a.String()).Addr().String() }

// flow is a connection that can be asked again and again who answers.
type flow struct {
	net.Conn
	in *bufio.Reader
}

func newFlow(c net.Conn) flow { return flow{c, bufio.NewReader(c)} }

const (
	patience = 10 * time.Second       // with an answer that must come
	moment   = 400 * time.Millisecond // in which one would come that must not
)

// connect opens a flow from a namespace ("" is the box), from an address or "".
func connect(t testing.TB, ns, network, from, to string) (flow, error) {
	t.Helper()
	return connectWithin(t, patience, ns, network, from, to)
}

func connectWithin(t testing.TB, limit time.Duration, ns, network, from, to string) (f flow, err error) {
	t.Helper()
	d := net.Dialer{Timeout: limit}
	if from != "" {
		a := netip.MustParseAddr(from)
		d.LocalAddr = map[string]net.Addr{"tcp": &net.TCPAddr{IP: a.AsSlice()}, "udp": &net.UDPAddr{IP: a.AsSlice()}}[network]
	}
	if !strings.Contains(to, "[") && strings.Count(to, ":") != 1 {
		to = net.JoinHostPort(to, "7")
	}
	inNamespace(t, ns, func() {
		var c net.Conn
		if c, err = d.DialContext(context.Background(), network, to); err == nil {
			f = newFlow(c)
		}
	})
	if err == nil {
		t.Cleanup(func() { f.Close() })
	}
	return f, err
}

// ask says who answers on the flow, and what address it sees; "" is no answer.
func (f flow) ask() string { return f.askWithin(patience) }

func (f flow) askWithin(limit time.Duration) string {
	_ = f.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(f, "who?"); err != nil {
		return ""
	}
	_ = f.SetDeadline(time.Now().Add(limit)) // of what has been sent
	line, err := f.in.ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimSpace(line)
}

// who opens a flow and asks once.
func who(t testing.TB, ns, network, to string) string {
	t.Helper()
	return whoWithin(t, patience, ns, network, to)
}

func whoWithin(t testing.TB, limit time.Duration, ns, network, to string) string {
	t.Helper()
	f, err := connectWithin(t, limit, ns, network, "", to)
	if err != nil {
		return ""
	}
	defer f.Close()
	return f.askWithin(limit)
}

// expect asks over both protocols; "" is no answer.
func expect(t testing.TB, ns, to, want string) {
	t.Helper()
	limit := patience
	if want == "" {
		limit = moment
	}
	for _, network := range []string{"udp", "tcp"} {
		if got := whoWithin(t, limit, ns, network, to); got != want {
			t.Errorf("%s from %q to %s: answered by %q, want %q", network, ns, to, got, want)
		}
	}
}
