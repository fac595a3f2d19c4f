package upstream

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind" // the chain of the tests
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
	"github.com/nameroute/nameroute/test/netlab"
)

// startServer runs a whole CoreDNS on a free port of the loopback and returns its
// address. %s in the block is a gateway.yaml of the given text.
func startServer(t *testing.T, yaml, block string) (addr string, inst *caddy.Instance, input func(string) caddy.Input) {
	t.Helper()
	if err := dnsserver.SetDirectives([]string{"bind", "errors", "cache", "upstream"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	instance.SetDefaults(write(t, dir, "gateway.yaml", yaml), dir)
	addr = closedPort(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	input = func(block string) caddy.Input {
		return caddy.CaddyfileInput{
			Filepath: "Corefile", ServerTypeName: "dns",
			Contents: fmt.Appendf(nil, ".:%s {\n bind 127.0.0.1\n errors\n %s\n}\n", port, block),
		}
	}
	inst, err = caddy.Start(input(block))
	if err != nil {
		t.Fatal(err)
	}
	return addr, inst, input
}

func stop(t *testing.T, inst *caddy.Instance) {
	t.Helper()
	for _, err := range inst.ShutdownCallbacks() {
		t.Error(err)
	}
	if err := inst.Stop(); err != nil {
		t.Error(err)
	}
	inst.Wait()
}

func exchangeWith(t *testing.T, addr, network, name string) *dns.Msg {
	t.Helper()
	m := ask(name, dns.TypeA)
	m.SetEdns0(1232, false)
	r, _, err := (&dns.Client{Net: network, Timeout: 8 * time.Second}).Exchange(m, addr)
	if err != nil {
		t.Fatalf("%s by %s: %v", name, network, err)
	}
	return r
}

// End to end: gateway.yaml, the route's table in the kernel, the dataplane, the
// Corefile, and a resolver on each side.
func TestServer(t *testing.T) {
	netlab.Need(t, "ip", "nft", "unbound")
	twoNetworks(t)
	ca := newAuthority(t)
	unbound(t, "wan", byWAN, ca)
	unbound(t, "vpn", byVPN, ca)
	for _, on := range []string{"block", "wan"} {
		yaml := fmt.Sprintf("lan: [lan0]\nroutes:\n  office:\n    interface: v0\n    on_down: %s\n    mark: 0x51000000\n    table: 7281\n", on)
		wan := []string{"-4 route add default via 10.9.1.2 dev w0 table 7327", "-6 route add default via fd09:1::2 dev w0 table 7327"}
		for _, args := range wan {
			ip(t, args)
		}
		addr, inst, _ := startServer(t, yaml, "upstream office "+resolver4+" "+resolver6)
		within(t, 10*time.Second, "the route answers", func() bool { return addrOf(exchangeWith(t, addr, "udp", "which.example.org.")) == byVPN })
		for _, network := range []string{"udp", "tcp"} {
			if got := addrOf(exchangeWith(t, addr, network, "which.example.org.")); got != byVPN {
				t.Errorf("by %s: %q, want %q", network, got, byVPN)
			}
		}
		if m := exchangeWith(t, addr, "udp", "big.example.org."); !m.Truncated || len(m.Answer) >= 120 {
			t.Errorf("a big answer by udp: %d addresses, truncated %v", len(m.Answer), m.Truncated)
		}
		if m := exchangeWith(t, addr, "tcp", "big.example.org."); m.Truncated || len(m.Answer) != 120 {
			t.Errorf("a big answer by tcp: %d addresses, truncated %v", len(m.Answer), m.Truncated)
		}

		// The sidecar shows that a route is down by taking its default out.
		ip(t, "route del default via 10.9.2.2 dev v0 metric 100 table 7281")
		ip(t, "-6 route del default via fd09:2::2 dev v0 metric 100 table 7281")
		if on == "wan" {
			within(t, 2*time.Second, "the WAN answers", func() bool { return addrOf(exchangeWith(t, addr, "udp", "which.example.org.")) == byWAN })
			if ttl := exchangeWith(t, addr, "udp", "which.example.org.").Answer[0].Header().Ttl; ttl > gateway.FallbackMaxTTL {
				t.Errorf("TTL %d", ttl)
			}
		} else {
			within(t, 2*time.Second, "the half has seen it", func() bool {
				start := time.Now()
				failed := exchangeWith(t, addr, "udp", "which.example.org.").Rcode == dns.RcodeServerFailure
				return failed && time.Since(start) < 200*time.Millisecond // at once, no packet was waited for
			})
		}
		ip(t, "route add default via 10.9.2.2 dev v0 metric 100 table 7281")
		ip(t, "-6 route add default via fd09:2::2 dev v0 metric 100 table 7281")
		within(t, 2*time.Second, "the route is back", func() bool { return addrOf(exchangeWith(t, addr, "udp", "which.example.org.")) == byVPN })
		stop(t, inst)
		for _, args := range wan {
			ip(t, strings.Replace(args, "add", "del", 1))
		}
		within(t, 2*time.Second, "all goroutines have ended", func() bool { return ours() == "" })
	}
}

// A reload lets the query in flight finish, and the next one takes the new way.
func TestReload(t *testing.T) {
	netlab.Need(t, "ip", "nft")
	twoNetworks(t)
	ip(t, "route add default via 10.9.1.2 dev w0 table 7327")
	t.Cleanup(func() { ip(t, "route del default via 10.9.1.2 dev w0 table 7327") })
	asked, release := make(chan struct{}, 8), make(chan struct{})
	old := serve(t, func(w dns.ResponseWriter, r *dns.Msg) {
		asked <- struct{}{}
		<-release
		w.WriteMsg(replyTo(r, "192.0.2.1"))
	})
	next := serve(t, answerWith("192.0.2.2"))
	addr, inst, input := startServer(t, "lan: [lan0]\n", "cache\n upstream wan "+old.String())
	got := make(chan string, 1)
	go func() {
		m, _, err := (&dns.Client{Timeout: 8 * time.Second}).Exchange(ask("a.example.org.", dns.TypeA), addr)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- fmt.Sprint(addrOf(m), " ", dns.RcodeToString[m.Rcode])
	}()
	select {
	case <-asked:
	case a := <-got:
		t.Fatalf("answered %q before it was asked", a)
	}
	time.AfterFunc(300*time.Millisecond, func() { close(release) })
	inst, err := inst.Restart(input("cache\n upstream wan " + next.String()))
	if err != nil {
		t.Fatal(err)
	}
	if a := <-got; a != "192.0.2.1 NOERROR" {
		t.Errorf("the query in flight got %q", a)
	}
	if a := addrOf(exchangeWith(t, addr, "udp", "b.example.org.")); a != "192.0.2.2" {
		t.Errorf("the next query got %q", a)
	}
	// A Corefile that is wrong changes nothing.
	if _, err := inst.Restart(input("upstream wann " + next.String())); err == nil || !strings.Contains(err.Error(), `unknown route "wann"`) {
		t.Errorf("a wrong Corefile: %v", err)
	}
	if a := addrOf(exchangeWith(t, addr, "udp", "c.example.org.")); a != "192.0.2.2" {
		t.Errorf("after a wrong Corefile: %q", a)
	}
	stop(t, inst)
	within(t, 2*time.Second, "all goroutines have ended", func() bool { return ours() == "" })
}

// Debian's resolvers keep the case, know EDNS and truncate, each in its own way, and Knot
// gives cookies.
func TestResolversOfDebian(t *testing.T) {
	netlab.Need(t, "ip", "dnsmasq", "knotd")
	dir := t.TempDir()
	zone, hosts := "$ORIGIN example.org.\n@ 300 SOA ns admin 1 60 60 60 60\n@ NS ns\nns A 192.0.2.53\nwhich A "+byVPN+"\n", ""
	for i := range 120 {
		zone += fmt.Sprintf("big A 198.51.100.%d\n", i)
		hosts += fmt.Sprintf("198.51.100.%d big.example.org\n", i)
	}
	write(t, dir, "example.org.zone", zone)
	hosts = write(t, dir, "hosts", hosts+byVPN+" which.example.org\n")
	knot := write(t, dir, "knot.conf", fmt.Sprintf("server:\n  listen: 127.0.0.1@5301\n  rundir: %[1]s\n"+
		"database:\n  storage: %[1]s\nmod-cookies:\n  - id: given\ntemplate:\n  - id: default\n    storage: %[1]s\n    zonefile-load: whole\n    global-module: mod-cookies/given\nzone:\n  - domain: example.org\n", dir))
	background(t, "knotd", "-c", knot)
	background(t, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--addn-hosts="+hosts,
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=5302", "--user=root", "--pid-file=", "--log-facility=-")
	for _, addr := range []string{"127.0.0.1:5301", "127.0.0.1:5302", "tcp://127.0.0.1:5301", "tcp://127.0.0.1:5302"} {
		l := forwarder(t, func(o *options) { o.maxFails = 0 }, addr)
		await(t, l)
		l.mustAsk(t, "which.example.org.", byVPN)
		l.mustAsk(t, "wHiCh.ExAmPlE.oRg.", byVPN)
		if m, _, err := l.client(context.Background(), ask("big.example.org.", dns.TypeA)); err != nil || len(m.Answer) != 120 || m.Truncated {
			t.Errorf("%s: big answer: %v, %v", addr, m, err)
		}
		if n := valueOf(t, mismatchCount.WithLabelValues("vpn", strings.TrimPrefix(addr, "dns://"), string(wire.WrongCase))); n != 0 {
			t.Errorf("%s: %v replies with another case", addr, n)
		}
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { l.wantAddr(t, "which.example.org.", byVPN) })
		}
		wg.Wait()
		known := l.targets().resolvers[0].capabilities()
		if want := wire.Case | wire.EDNS; l.opts.addresses[0].Transport == address.UDP && (known.Lacks&^wire.Cookies != 0 || known.Seen&want != want) {
			t.Errorf("%s: seen %s, lacking %s", addr, known.Seen, known.Lacks)
		}
		if cookies := known.Seen&wire.Cookies != 0; cookies != (addr == "127.0.0.1:5301") {
			t.Errorf("%s: it gives cookies: %v", addr, cookies)
		}
	}
}
