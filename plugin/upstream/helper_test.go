package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	sharedquery "github.com/nameroute/nameroute/plugin/pkg/query"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

var (
	vpnMark = gateway.DefaultMask.Mark(0x51)
	wanMark = gateway.DefaultMask.Mark(gateway.DefaultMask.Max())
)

// vpn is a route that is up and has both families.
func vpn() *Status {
	return &Status{
		Route: gateway.Route{Name: "vpn", Mark: vpnMark, OnDown: gateway.Block},
		V4:    true, V6: true, WANMark: wanMark,
	}
}

// lab is a forwarder and the state of its route, which tests change.
type lab struct {
	*Upstream
	state atomic.Pointer[Status]
}

// forwarder builds what setup would, with short timers. A resolver is waited for: on a busy
// machine one that answers would be taken for a silent one now and then.
func forwarder(t testing.TB, change func(*options), addrs ...string) *lab {
	t.Helper()
	netlab.Need(t) // marks need privilege
	o := options{
		route: "vpn", policy: sequential, timeout: 10 * time.Second, budget: 20 * time.Second,
		expire: 5 * time.Second, interval: 20 * time.Millisecond, probe: ".", maxFails: 2, patience: time.Minute,
	}
	for _, a := range addrs {
		parsed, err := address.Parse(a)
		if err != nil {
			t.Fatal(err)
		}
		o.addresses = append(o.addresses, parsed)
	}
	if change != nil {
		change(&o)
	}
	l := &lab{}
	l.state.Store(vpn())
	l.Upstream = newUpstream(o, l.state.Load)
	if err := l.onStartup(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.onShutdown(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// impatient has forwarder wait as long as resolvers are known to need.
func impatient(o *options) { o.patience = 0 }

// client asks as CoreDNS would and returns the message that was written, nil if
// none was.
func (l *lab) client(ctx context.Context, m *dns.Msg) (*dns.Msg, int, error) {
	rec := dnstest.NewRecorder(&test.ResponseWriter{})
	reason := &sharedquery.Reason{Context: ctx}
	code, err := l.ServeDNS(reason, rec, m)
	if err == nil {
		err = reason.Why()
	}
	return rec.Msg, code, err
}

// mustAsk fails the test when the answer is not one A record with the address.
func (l *lab) mustAsk(t testing.TB, name, want string) *dns.Msg {
	t.Helper()
	m, _, err := l.client(context.Background(), ask(name, dns.TypeA))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if got := addrOf(m); got != want {
		t.Fatalf("%s: got %q, want %q:\n%v", name, got, want, m)
	}
	return m
}

// send is for goroutines: it fails the test and goes on, with an empty message.
func (l *lab) send(t testing.TB, r *dns.Msg) *dns.Msg {
	m, _, err := l.client(context.Background(), r)
	if err != nil {
		t.Error(err)
		return new(dns.Msg)
	}
	return m
}

// wantAddr is mustAsk for goroutines.
func (l *lab) wantAddr(t testing.TB, name, want string) {
	if got := addrOf(l.send(t, ask(name, dns.TypeA))); got != want {
		t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

func ask(name string, qtype uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, qtype) }

func addrOf(m *dns.Msg) string {
	if m == nil || len(m.Answer) == 0 {
		return ""
	}
	switch rr := m.Answer[len(m.Answer)-1].(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.AAAA:
		return rr.AAAA.String()
	}
	return ""
}

// answer replies with one A record.
func answerWith(addr string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, r *dns.Msg) { w.WriteMsg(replyTo(r, addr)) }
}

func replyTo(r *dns.Msg, addr string) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.RecursionAvailable = true
	rr, err := dns.NewRR(fmt.Sprintf("%s 3600 IN A %s", r.Question[0].Name, addr))
	if err != nil {
		panic(err)
	}
	m.Answer = []dns.RR{rr}
	if opt := r.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
	}
	return m
}

func withRcode(rcode int) dns.HandlerFunc {
	return func(w dns.ResponseWriter, r *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(r, rcode)) }
}

// server is a resolver on UDP and TCP of one loopback port. Questions for the root
// are probes, which are answered and not counted.
type server struct {
	addr     netip.AddrPort
	udp, tcp atomic.Int64
	probes   atomic.Int64
	mu       sync.Mutex
	seen     []*dns.Msg
	from     map[string]bool // source ports of UDP questions
}

func (s *server) String() string { return s.addr.String() }
func (s *server) hits() int64    { return s.udp.Load() + s.tcp.Load() }

func (s *server) last() *dns.Msg { all := s.all(); return all[len(all)-1] }

func (s *server) all() []*dns.Msg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

func (s *server) ports() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.from)
}

func serve(t testing.TB, h dns.HandlerFunc) *server { return serveOn(t, "127.0.0.1:0", h) }

func serveOn(t testing.TB, addr string, h dns.HandlerFunc) *server {
	t.Helper()
	netlab.Need(t)
	s := &server{from: map[string]bool{}}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		if r.Question[0].Name == "." {
			s.probes.Add(1)
			w.WriteMsg(new(dns.Msg).SetReply(r))
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, r.Copy())
		if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
			s.udp.Add(1)
			s.from[w.RemoteAddr().String()] = true
		} else {
			s.tcp.Add(1)
		}
		s.mu.Unlock()
		h(w, r)
	})
	pc, ln := listenBoth(t, addr)
	roomy(t, pc)
	s.addr = pc.LocalAddr().(*net.UDPAddr).AddrPort()
	run(t, &dns.Server{PacketConn: pc, Handler: handler})
	run(t, &dns.Server{Listener: ln, Handler: handler})
	return s
}

// listenBoth finds a port that is free for UDP and for TCP.
func listenBoth(t testing.TB, addr string) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 20 {
		var pc net.PacketConn
		if pc, err = net.ListenPacket("udp", addr); err != nil {
			break
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", pc.LocalAddr().String()); err == nil {
			return pc, ln
		}
		pc.Close() // somebody has the port for TCP
	}
	t.Fatal(err)
	return nil, nil
}

// roomy makes room for a burst of datagrams, beyond net.core.rmem_max: what a busy
// machine loses is not what the tests are about.
func roomy(t testing.TB, pc net.PacketConn) {
	t.Helper()
	raw, err := pc.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var e error
	err = raw.Control(func(fd uintptr) { e = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20) })
	if err != nil || e != nil {
		t.Fatal(err, e)
	}
}

func run(t testing.TB, s *dns.Server) {
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	ended := make(chan error, 1)
	go func() { ended <- s.ActivateAndServe() }()
	select {
	case <-started:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(); <-ended })
}

// silent is a resolver that reads and never answers.
func silent(t testing.TB) *server { return serve(t, func(dns.ResponseWriter, *dns.Msg) {}) }

// closedPort returns an address on which no program listens, over UDP or TCP: a port below
// those that the kernel gives to sockets by itself, which could take over a free one of them.
func closedPort(t testing.TB) string {
	t.Helper()
	pc, ln := listenBoth(t, "127.0.0.1:9")
	defer pc.Close()
	defer ln.Close()
	return pc.LocalAddr().String()
}

// within waits for a condition.
func within(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	netlab.Eventually(t, d, func() error { return netlab.Check(ok(), "%s", what) })
}

// quiet waits until nothing has been sent to a server for a while: what was under way has
// come then, and what is repeated would never end.
func quiet(t testing.TB, s *server) {
	t.Helper()
	within(t, 30*time.Second, "no more packets", func() bool {
		n := s.hits()
		time.Sleep(2 * tick)
		return s.hits() == n
	})
}

// valueOf reads a counter or a gauge.
func valueOf(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	if out.Gauge != nil {
		return out.Gauge.GetValue()
	}
	return out.Counter.GetValue()
}

func addressOf(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
