package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/wg"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/shell"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// far is the rest of the world, in a namespace of its own: the ISP's router, hosts
// that echo, and the VPN server, which is Debian's wireguard-go.
//
//	our namespace, the box                        far
//	[wan0] 192.0.2.2 ----------------- 192.0.2.1, 192.0.2.9 [isp0]
//	[wg0]  10.8.0.2  ==== WireGuard ==== 10.8.0.1 [wgfar]
//	                                     203.0.113.7, 2001:db8:ff::7 [lo] echo
type far struct {
	*netlab.Namespace
	t      *testing.T
	dir    string // the box's state
	ours   wgtypes.Key
	theirs wgtypes.Key
	conf   string // path of the provider's file
}

const (
	host4 = "203.0.113.7"
	host6 = "2001:db8:ff::7"
)

func newFar(t *testing.T) *far {
	t.Helper()
	netlab.Need(t, "ip", "wg", "wireguard-go", "nft")
	cleanBox(t)
	t.Cleanup(func() { cleanBox(t) })
	f := &far{Namespace: netlab.NewNamespace(t, "far"), t: t, dir: t.TempDir()}
	holder := f.Start("sleep", "600")
	t.Cleanup(func() { holder.Kill() })
	run(t, fmt.Sprintf(`
ip link add wan0 type veth peer name isp0 netns %d
ip link add lan0 type veth peer name pc0
for l in wan0 lan0 pc0; do sysctl -qw net.ipv6.conf.$l.accept_dad=0; ip link set $l up; done
ip addr add 192.0.2.2/24 dev wan0; ip addr add 2001:db8:1::2/64 dev wan0 nodad
ip addr add 192.168.1.1/24 dev lan0; ip addr add fd00:1::1/64 dev lan0 nodad
ip route add default via 192.0.2.1; ip -6 route add default via 2001:db8:1::1`, f.Pids()[0]))
	f.Sh(`
sysctl -qw net.ipv6.conf.isp0.accept_dad=0
ip link set isp0 up
ip addr add 192.0.2.1/24 dev isp0; ip addr add 192.0.2.9/24 dev isp0; ip addr add 2001:db8:1::1/64 dev isp0 nodad
ip addr add ` + host4 + `/32 dev lo; ip addr add ` + host6 + `/128 dev lo nodad`)
	f.echo("udp4", net.JoinHostPort(host4, "7"))
	f.echo("udp6", net.JoinHostPort(host6, "7"))
	f.ours, f.theirs = key(t), key(t)
	f.serve()
	f.conf = filepath.Join(f.dir, "wg0.conf")
	f.provide("192.0.2.1:51820", "")
	return f
}

func key(t *testing.T) wgtypes.Key {
	t.Helper()
	k, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// echo answers every datagram with the address that it came from.
func (f *far) echo(network, addr string) {
	f.t.Helper()
	c, err := f.ListenPacket(network, addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(from.(*net.UDPAddr).IP.String()), from) // a lost answer is a lost datagram
		}
	}()
}

func (f *far) serve() {
	f.t.Helper()
	f.Start("wireguard-go", "-f", "wgfar").AwaitWireGuard("wgfar")
	file := filepath.Join(f.dir, "far.key")
	if err := os.WriteFile(file, []byte(f.theirs.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.Sh("wg set wgfar listen-port 51820 private-key " + file + " peer " + f.ours.PublicKey().String() + ` persistent-keepalive 1 allowed-ips 10.8.0.2/32,fd00:8::2/128
ip addr add 10.8.0.1/24 dev wgfar; ip addr add fd00:8::1/64 dev wgfar nodad; ip link set wgfar up`)
}

// provide writes the provider's file.
func (f *far) provide(endpoint, extra string) {
	f.t.Helper()
	f.write(fmt.Sprintf("[Interface]\nPrivateKey = %s\nAddress = 10.8.0.2/32, fd00:8::2/128\n%s\n[Peer]\nPublicKey = %s\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = %s\nPersistentKeepalive = 1\n",
		f.ours, extra, f.theirs.PublicKey(), endpoint))
}

func (f *far) write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.conf+".new", []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.conf+".new", f.conf); err != nil {
		f.t.Fatal(err)
	}
}

// silence makes the VPN server's packets vanish, both ways.
func (f *far) silence(on bool) {
	f.t.Helper()
	if !on {
		f.Sh("nft delete table inet silence")
		return
	}
	f.Sh(`nft add table inet silence
nft 'add chain inet silence in { type filter hook input priority 0; }'
nft 'add chain inet silence out { type filter hook output priority 0; }'
nft add rule inet silence in udp dport 51820 drop
nft add rule inet silence out udp sport 51820 drop`)
}

// config has the route vpn by the provider's file, and those given.
func (f *far) config(more ...gateway.Route) *gateway.Config {
	cfg := &gateway.Config{
		File: "gateway.yaml", LAN: []string{"lan0"}, Mask: gateway.DefaultMask, Priority: gateway.DefaultPriority,
	}
	vpn := gateway.Route{Name: "vpn", Egress: gateway.Egress{Kind: gateway.EgressWireGuard, File: f.conf, Link: "wg0"}}
	for i, r := range append([]gateway.Route{vpn}, more...) {
		r.Number = i + 1
		r.Mark = cfg.Mask.Mark(r.Number)
		r.Table, r.Priority = gateway.DefaultTable+r.Number, cfg.Priority+r.Number
		cfg.Routes = append(cfg.Routes, r)
	}
	return cfg
}

// running is a controller that runs.
type running struct {
	*Controller
	t    *testing.T
	log  *record
	stop func()
}

// record keeps a log as text.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

func (r *record) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.b.Reset()
}

var short = Timers{Probe: 20 * time.Millisecond, Handshake: time.Minute, RetryMin: 50 * time.Millisecond,
	RetryMax: 200 * time.Millisecond, Resolve: 300 * time.Millisecond}

// start runs a controller until the test ends or stop is called.
func (f *far) start(cfg *gateway.Config, change ...func(*Options)) *running {
	f.t.Helper()
	log := &record{}
	o := Options{Config: cfg, State: f.dir, Timers: short, Log: slog.New(slog.NewTextHandler(log, nil))}
	for _, set := range change {
		set(&o)
	}
	c, err := New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- c.Run(ctx) }()
	r := &running{Controller: c, t: f.t, log: log}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-end; err != nil {
			f.t.Errorf("Run: %v", err)
		}
	})
	f.t.Cleanup(func() {
		r.stop()
		if f.t.Failed() {
			f.t.Logf("log:\n%s", log)
		}
	})
	return r
}

func (r *running) awaitUp(route string) time.Duration {
	r.t.Helper()
	return soon(r.t, route+" is up", func() bool { s, ok := r.Status().Route(route); return ok && s.Up })
}

func (r *running) awaitDown(route string) time.Duration {
	r.t.Helper()
	return soon(r.t, route+" is down", func() bool { s, ok := r.Status().Route(route); return ok && s.State == wg.Down })
}

// ask sends a marked datagram to an echo and tells the source address that it
// arrived from, or the error.
func ask(host string, mark uint32) string {
	d := net.Dialer{Timeout: time.Second, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
		}); e != nil {
			return e
		}
		return err
	}}
	c, err := d.Dial("udp", net.JoinHostPort(host, "7"))
	if err != nil {
		return errorText(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err.Error()
	}
	if _, err := c.Write([]byte("?")); err != nil {
		return errorText(err)
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil {
		return errorText(err)
	}
	return string(buf[:n])
}

func errorText(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer"
	}
	return err.Error()
}

// awaitAnswer waits until both families' echoes are reached from these addresses.
func awaitAnswer(t *testing.T, mark gateway.Mark, from4, from6 string) time.Duration {
	t.Helper()
	return soon(t, "answers to "+from4+" and "+from6, func() bool {
		return ask(host4, mark.Value) == from4 && ask(host6, mark.Value) == from6
	})
}

// wantNone fails if one of ten marked packets is answered at all.
func wantNone(t *testing.T, mark gateway.Mark) {
	t.Helper()
	for range 5 {
		for _, h := range []string{host4, host6} {
			if got := ask(h, mark.Value); got != "no answer" && got != "no route to host" {
				t.Errorf("%s: %s", h, got)
			}
		}
	}
}

// soon waits until a condition holds and tells how long that took.
func soon(t *testing.T, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	netlab.Eventually(t, 15*time.Second, func() error { return netlab.Check(ok(), "%s", what) })
	return time.Since(start)
}

var run = shell.Run

func cleanBox(t *testing.T) {
	t.Helper()
	links, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		links, err = netlink.LinkList()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Attrs().Name != "lo" {
			_ = netlink.LinkDel(l) // a veth's other end goes with it
		}
	}
	run(t, `
for f in -4 -6; do
ip $f rule | grep 'proto 110' | cut -d: -f1 | while read -r p; do ip $f rule del pref $p; done
ip $f route show table all | grep 'proto 110' | while read -r r; do ip $f route del $r; done
done
nft flush ruleset
sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0`)
}

// ours is all that ip(8) shows of ours.
func ours(t *testing.T) string {
	t.Helper()
	return run(t, `for f in -4 -6; do ip $f rule | grep 'proto 110' || true; ip $f route show table all | grep 'proto 110' || true; done`)
}
