package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

// Two networks hang on the box, each with a resolver of the same addresses that
// gives another answer:
//
//	main table: default ── w0 ── namespace wan: unbound answers 203.0.113.1
//	box
//	table 7281: default ── v0 ── namespace vpn: unbound answers 203.0.113.2
//
// Neither namespace has a route but to its own link, so that a reply comes back
// only to a source address of that link.
const (
	resolver4 = "192.0.2.53"
	resolver6 = "2001:db8::53"
	byWAN     = "203.0.113.1"
	byVPN     = "203.0.113.2"
)

func ip(t testing.TB, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// network makes a namespace on a link, with the resolver's addresses in it.
func network(t testing.TB, name, link string, n int) {
	t.Helper()
	ip(t, "netns add "+name)
	t.Cleanup(func() {
		ip(t, "link del "+link) // a namespace's own links go later than it
		ip(t, "netns del "+name)
	})
	ip(t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", link, name))
	ip(t, fmt.Sprintf("addr add 10.9.%d.1/24 dev %s", n, link))
	ip(t, fmt.Sprintf("addr add fd09:%d::1/64 dev %s nodad", n, link))
	ip(t, "link set "+link+" up")
	in := "-n " + name + " "
	ip(t, in+fmt.Sprintf("addr add 10.9.%d.2/24 dev eth0", n))
	ip(t, in+fmt.Sprintf("addr add fd09:%d::2/64 dev eth0 nodad", n))
	ip(t, in+"addr add "+resolver4+"/32 dev lo")
	ip(t, in+"addr add "+resolver6+"/128 dev lo nodad")
	ip(t, in+"link set lo up")
	ip(t, in+"link set eth0 up")
}

// twoNetworks builds the picture above.
func twoNetworks(t testing.TB) {
	t.Helper()
	network(t, "wan", "w0", 1)
	network(t, "vpn", "v0", 2)
	for _, f := range []string{"-4", "-6"} {
		wan, vpn := "10.9.1.2", "10.9.2.2"
		if f == "-6" {
			wan, vpn = "fd09:1::2", "fd09:2::2"
		}
		ip(t, f+" route add default via "+wan+" dev w0")
		ip(t, f+" route add default via "+vpn+" dev v0 metric 100 table 7281")
		backstop := " unreachable default metric 4294967295 table 7281"
		ip(t, f+" route add"+backstop)
		rule := " pref 7281 fwmark " + vpnMark.String() + " lookup 7281"
		ip(t, f+" rule add"+rule)
		t.Cleanup(func() { ip(t, f+" rule del"+rule); ip(t, f+" route del"+backstop) })
	}
}

// daemon runs a resolver in a namespace until the test ends.
func daemon(t testing.TB, namespace string, args ...string) {
	t.Helper()
	background(t, append([]string{"ip", "netns", "exec", namespace}, args...)...)
}

// background runs a program until the test ends.
func background(t testing.TB, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // its exit by the signal is no news
		if t.Failed() {
			t.Logf("%s:\n%s", strings.Join(args, " "), out.String())
		}
	})
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pemFiles writes a certificate where a daemon can read it.
func pemFiles(t testing.TB, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return write(t, dir, "cert.pem", block("CERTIFICATE", c.Certificate[0])), write(t, dir, "key.pem", block("PRIVATE KEY", der))
}

// unbound starts Debian's on all transports; which names its namespace.
func unbound(t testing.TB, namespace, addr string, ca *authority) {
	t.Helper()
	dir := t.TempDir()
	cert, key := pemFiles(t, dir, ca.sign(t, time.Now().Add(time.Hour), []string{"dns.example.org"}))
	conf := fmt.Sprintf(`server:
	interface: %[1]s@53
	interface: %[2]s@53
	interface: %[1]s@853
	interface: %[2]s@853
	interface: %[1]s@443
	interface: %[2]s@443
	https-port: 443
	tls-port: 853
	tls-service-key: %[3]q
	tls-service-pem: %[4]q
	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	username: ""
	chroot: ""
	directory: %[5]q
	pidfile: ""
	use-syslog: no
	do-daemonize: no
	module-config: "iterator"
	minimal-responses: no
	local-zone: "example.org." static
	local-data: "dns.example.org. 300 IN A %[1]s"
	local-data: "dns.example.org. 300 IN AAAA %[2]s"
	local-data: "which.example.org. 300 IN A %[6]s"
`, resolver4, resolver6, key, cert, dir, addr)
	for i := range 120 {
		conf += fmt.Sprintf("\tlocal-data: \"big.example.org. 300 IN A 198.51.100.%d\"\n", i)
	}
	daemon(t, namespace, "unbound", "-d", "-c", write(t, dir, "unbound.conf", conf+"remote-control:\n\tcontrol-enable: no\n"))
}

// inNamespace runs a function whose sockets are in a namespace.
func inNamespace(t testing.TB, name string, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	other, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := netns.Set(other); err != nil {
		t.Fatal(err)
	}
	defer netns.Set(own)
	do()
}

// resolvers starts one on all transports: unbound, which has neither HTTP/3 nor QUIC, and
// one for these.
func resolvers(t testing.TB, namespace, addr string, ca *authority) {
	t.Helper()
	unbound(t, namespace, addr, ca)
	cert := ca.sign(t, time.Now().Add(time.Hour), []string{"dns.example.org"})
	inNamespace(t, namespace, func() {
		for _, a := range []string{resolver4, "[" + resolver6 + "]"} {
			serveFarAt(t, "h3", cert, addr, a+":8443")
			serveFarAt(t, "quic", cert, addr, a+":8853")
		}
	})
}

// every is each transport over each family.
func every() map[string]string {
	all := map[string]string{}
	for family, a := range map[string]string{"v4": resolver4, "v6": "[" + resolver6 + "]"} {
		all["udp "+family] = a + ":53"
		all["tcp "+family] = "tcp://" + a + ":53"
		for scheme, port := range map[string]string{"tls": "", "https": "", "h3": ":8443", "quic": ":8853"} {
			all[scheme+" "+family] = scheme + "://" + a + "%dns.example.org" + port
		}
	}
	all["https by name"] = "https://dns.example.org"
	all["tls by name"] = "tls://dns.example.org"
	return all
}

// await asks until the daemon listens.
func await(t testing.TB, l *lab) {
	t.Helper()
	within(t, 10*time.Second, "the resolver answers", func() bool {
		m, _, _ := l.client(context.Background(), ask("which.example.org.", dns.TypeA))
		return addrOf(m) != ""
	})
}

// The mark alone decides the egress: the same address via the route and via the WAN is two
// resolvers, over every transport and both families.
func TestMarkDecidesTheEgress(t *testing.T) {
	netlab.Need(t, "ip", "unbound")
	twoNetworks(t)
	ca := newAuthority(t)
	resolvers(t, "wan", byWAN, ca)
	resolvers(t, "vpn", byVPN, ca)
	trust := func(o *options) {
		o.trust.Config = &tls.Config{RootCAs: ca.pool}
		o.bootstrap = []netip.AddrPort{netip.MustParseAddrPort(resolver4 + ":53")}
		o.maxFails = 0
	}
	for what, addr := range every() {
		t.Run(what, func(t *testing.T) {
			l := forwarder(t, trust, addr)
			await(t, l)
			l.mustAsk(t, "which.example.org.", byVPN)
			m, _, err := l.client(context.Background(), ask("big.example.org.", dns.TypeA))
			if err != nil || len(m.Answer) != 120 || m.Truncated {
				t.Errorf("big answer: %d addresses, %v", len(m.Answer), err)
			}
			l.change(func(s *Status) { s.Route.Mark = wanMark })
			await(t, l)
			l.mustAsk(t, "which.example.org.", byWAN)

			l.change(func(s *Status) { s.Route.Mark, s.Route.OnDown = vpnMark, gateway.FallBack })
			l.mustAsk(t, "which.example.org.", byVPN)
			l.change(func(s *Status) { s.Down = true })
			l.mustAsk(t, "which.example.org.", byWAN)
		})
	}
}

// countQueries has the kernel count what goes to a resolver's ports by each link.
func countQueries(t testing.TB) {
	t.Helper()
	nft(t, `table inet count {
	chain out {
		type filter hook postrouting priority 0
		oifname "w0" meta l4proto { tcp, udp } th dport { 53, 443, 853, 8443, 8853 } counter comment "wan"
		oifname "v0" meta l4proto { tcp, udp } th dport { 53, 443, 853, 8443, 8853 } counter comment "vpn"
	}
}
`)
	t.Cleanup(func() { nft(t, "delete table inet count") })
}

func counted(t testing.TB) string {
	t.Helper()
	var got []string
	for line := range strings.Lines(nft(t, "list chain inet count out")) {
		if f := strings.Fields(line); strings.Contains(line, "counter") {
			got = append(got, f[len(f)-1], strings.Join(f[len(f)-6:len(f)-4], " "))
		}
	}
	return strings.Join(got, " ")
}

func nft(t testing.TB, script string) string {
	t.Helper()
	cmd := exec.Command("nft", "-f", "-")
	if strings.HasPrefix(script, "list ") {
		cmd = exec.Command("nft", strings.Fields(script)...)
	}
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v: %s", script, err, out)
	}
	return string(out)
}

// With the egress gone, the route's table ends in "unreachable": a query fails at once, even
// before the route is known to be down, and nothing leaves via the WAN. Both open and new
// sockets are tested.
func TestDeadEgressLeaksNothing(t *testing.T) {
	netlab.Need(t, "ip", "nft", "unbound")
	twoNetworks(t)
	ca := newAuthority(t)
	resolvers(t, "vpn", byVPN, ca)
	trust := func(o *options) {
		o.trust.Config, o.budget = &tls.Config{RootCAs: ca.pool}, 2*time.Second
		o.bootstrap = []netip.AddrPort{netip.MustParseAddrPort("[" + resolver6 + "]:53")}
	}
	var labs []*lab
	for _, addr := range every() {
		l := forwarder(t, trust, addr)
		await(t, l) // opens sockets
		labs = append(labs, l)
	}
	ip(t, "route del default via 10.9.2.2 dev v0 metric 100 table 7281")
	ip(t, "-6 route del default via fd09:2::2 dev v0 metric 100 table 7281")
	countQueries(t)
	for _, addr := range every() {
		labs = append(labs, forwarder(t, trust, addr))
	}
	var asking sync.WaitGroup
	for _, l := range labs {
		asking.Go(func() {
			start := time.Now()
			m, code, err := l.client(context.Background(), ask("which.example.org.", dns.TypeA))
			if code != dns.RcodeServerFailure || err == nil {
				t.Errorf("got %v, %d, %v; want SERVFAIL", m, code, err)
			}
			// A TCP connection that is open keeps trying, and is left to its timeout.
			t.Logf("%s: %v after %s", l.opts.addresses[0], err, time.Since(start).Round(time.Millisecond))
		})
	}
	asking.Wait()
	if got := counted(t); got != `"wan" packets 0 "vpn" packets 0` {
		t.Errorf("packets that left: %s", got)
	}
	// The count counts.
	l := forwarder(t, nil, resolver4)
	l.change(func(s *Status) { s.Route.Mark = wanMark })
	l.client(context.Background(), ask("which.example.org.", dns.TypeA))
	if got := counted(t); got == `"wan" packets 0 "vpn" packets 0` {
		t.Error("a question via the WAN was not counted")
	}
}

// A link whose address changes under open sockets costs nothing but a new socket.
func TestAddressOfTheEgressChanges(t *testing.T) {
	netlab.Need(t, "ip", "unbound")
	twoNetworks(t)
	ca := newAuthority(t)
	unbound(t, "vpn", byVPN, ca)
	// Without it, the first address takes the second one with it.
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/v0/promote_secondaries", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{resolver4, "tcp://" + resolver4} {
		l := forwarder(t, func(o *options) { o.timeout, o.patience = 300*time.Millisecond, 0 }, addr)
		await(t, l)
		ip(t, "addr add 10.9.2.77/24 dev v0")
		ip(t, "addr del 10.9.2.1/24 dev v0")
		ip(t, "route replace default via 10.9.2.2 dev v0 metric 100 table 7281")
		l.mustAsk(t, "which.example.org.", byVPN)
		ip(t, "addr add 10.9.2.1/24 dev v0")
		ip(t, "addr del 10.9.2.77/24 dev v0")
		ip(t, "route replace default via 10.9.2.2 dev v0 metric 100 table 7281")
	}
}

// A mark that cannot be set is a socket that is not made.
func TestNoMarkNoSocket(t *testing.T) {
	netlab.Need(t)
	s := serve(t, answerWith("192.0.2.1"))
	errs := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread dies with the goroutine
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&head, &caps[0]); err != nil {
			errs <- err
			errs <- err
			return
		}
		caps[0].Effective &^= 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
		if err := unix.Capset(&head, &caps[0]); err != nil {
			errs <- err
			errs <- err
			return
		}
		for _, network := range []string{"udp", "tcp"} {
			_, err := markedDialer(vpnMark).Dial(network, s.String())
			errs <- err
		}
	}()
	for range 2 {
		if err := <-errs; !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "set mark 0x51000000 on socket: operation not permitted") {
			t.Errorf("got %v", err)
		}
	}
}
