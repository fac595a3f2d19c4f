package probe

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/group"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// What every far end has, so that only the way to them differs.
var (
	target4, target6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	absent4, absent6 = netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
)

// lab is a box (this namespace) with two links, m0 and m1, each with its far end. Table main
// has its defaults by m0, so what loses its mark shows there.
type lab struct {
	t    *testing.T
	far  [2]*farEnd
	taps [2]*wire.Tap
}

type farEnd struct {
	*netlab.Namespace
	status   atomic.Int32 // of HTTP
	location atomic.Pointer[string]
	rcode    atomic.Int32 // of DNS
}

func newLab(t *testing.T) *lab {
	netlab.Need(t, "ip", "nft")
	l := &lab{t: t}
	for i := range l.far {
		l.far[i] = l.newFarEnd(i)
		l.taps[i] = wire.NewTap(t, "box", func(f func()) { f() }, fmt.Sprintf("m%d", i))
	}
	l.sh(`ip route add default via 10.0.0.2; ip -6 route add default via fd00::2`)
	return l
}

func (l *lab) newFarEnd(i int) *farEnd {
	l.t.Helper()
	n := &farEnd{Namespace: netlab.NewNamespace(l.t, fmt.Sprintf("far%d", i))}
	n.IP(fmt.Sprintf("link add eth0 type veth peer name m%d netns %d", i, os.Getpid()),
		fmt.Sprintf("addr add 10.0.%d.2/24 dev eth0", i), fmt.Sprintf("addr add fd00:%d::2/64 dev eth0 nodad", i), "link set eth0 up",
		fmt.Sprintf("addr add %s/32 dev lo", target4), fmt.Sprintf("addr add %s/128 dev lo nodad", target6))
	l.sh(fmt.Sprintf(`
ip addr add 10.0.%[1]d.1/24 dev m%[1]d; ip addr add fd00:%[1]d::1/64 dev m%[1]d nodad; ip link set m%[1]d up
for f in 4 6; do
	ip -$f rule add pref %[3]d fwmark %#[2]x/0x7f000000 lookup %[3]d
	ip -$f route add unreachable default metric 4294967295 table %[3]d
done
ip route add default via 10.0.%[1]d.2 table %[3]d; ip -6 route add default via fd00:%[1]d::2 table %[3]d`, i, mark(i).Value, 101+i))
	l.t.Cleanup(func() {
		l.sh(fmt.Sprintf(`for f in 4 6; do ip -$f rule del pref %[1]d; ip -$f route del unreachable default metric 4294967295 table %[1]d; done; ip link del m%[2]d`, 101+i, i))
	})
	n.status.Store(200)
	for _, a := range []netip.Addr{target4, target6} {
		listener, err := n.Listen("tcp", netip.AddrPortFrom(a, 80).String())
		if err != nil {
			l.t.Fatal(err)
		}
		web := &http.Server{Handler: n}
		go web.Serve(listener)
		packets, err := n.ListenPacket("udp", netip.AddrPortFrom(a, 53).String())
		if err != nil {
			l.t.Fatal(err)
		}
		names := &dns.Server{PacketConn: packets, Handler: n}
		go names.ActivateAndServe()
		l.t.Cleanup(func() { web.Close(); names.Shutdown() })
	}
	return n
}

func (n *farEnd) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if to := n.location.Load(); to != nil {
		w.Header().Set("Location", *to)
	}
	w.WriteHeader(int(n.status.Load()))
}

func (n *farEnd) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetRcode(q, int(n.rcode.Load()))
	text := map[uint16]string{dns.TypeA: "%s 60 A 192.0.2.1", dns.TypeAAAA: "%s 60 AAAA 2001:db8::1"}[q.Question[0].Qtype]
	if rr, err := dns.NewRR(fmt.Sprintf(text, q.Question[0].Name)); err == nil && m.Rcode == 0 {
		m.Answer = []dns.RR{rr}
	}
	w.WriteMsg(m)
}

// silence has the far end drop all that is sent to the targets, or nothing.
func (n *farEnd) silence(on bool) {
	rule := ""
	if on {
		rule = "ip daddr 192.0.2.0/24 drop\nip6 daddr 2001:db8::/64 drop\n"
	}
	n.NFT("table inet far\nflush table inet far\ntable inet far {\nchain input {\ntype filter hook input priority 0\n" + rule + "}\n}\n")
}

func mark(i int) gateway.Mark { return gateway.DefaultMask.Mark(1 + i) }

func (l *lab) sh(script string) {
	l.t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		l.t.Fatalf("%s\n%v\n%s", script, err, out)
	}
}

// route is member i with these probes.
func (l *lab) route(i int, probes ...gateway.Probe) Route {
	return Route{
		Name: fmt.Sprintf("m%d", i), Mark: mark(i), Resolvers: []netip.AddrPort{netip.AddrPortFrom(target4, 53), netip.AddrPortFrom(target6, 53)},
		Handshake: Handshake{State: HandshakeGood},
		Probing:   gateway.Probing{Probes: probes, Every: time.Second, Fails: 3, Good: 1},
	}
}

// await sends probes through a route until a result is as wanted: "" is a good one, * any, else
// the reason must contain it. A machine that is busy may need more than one round.
func (l *lab) await(r Route, want string) (last group.Result) {
	l.t.Helper()
	results := make(chan group.Result, 1)
	p := New(func(r group.Result) {
		select {
		case results <- r:
		default:
		}
	})
	p.Set(l.t.Context(), []Route{r})
	defer p.Stop()
	netlab.Eventually(l.t, 30*time.Second, func() error {
		select {
		case last = <-results:
		default:
		}
		good := want == "" && last.OK || want == "*" && last.Member != ""
		bad := want != "" && !last.OK && strings.Contains(last.Reason, want)
		return netlab.Check(good || bad, "%v: %+v, want %q", r.Probing.Probes, last, want)
	})
	return last
}

// sent returns what was sent to the targets by a link: of TCP what opens a connection, because
// an earlier one may still be closing, and of ICMP echoes, because the kernel's error about an
// answer that came too late gets the mark of its flow from the nft table, which is not here.
func (l *lab) sent(link int) []wire.Packet {
	return l.taps[link].Packets(wire.To(target4, target6, absent4, absent6), func(p wire.Packet) bool {
		switch p.Proto {
		case unix.IPPROTO_TCP:
			return p.SYN()
		case unix.IPPROTO_ICMP:
			return p.Data[20] == echo4
		case unix.IPPROTO_ICMPV6:
			return p.Data[40] == echo6
		}
		return true
	})
}

// wantOnlyBy wants packets to the targets by one link, and none by the other.
func (l *lab) wantOnlyBy(link int) {
	l.t.Helper()
	if by := l.sent(1 - link); len(by) > 0 {
		l.t.Errorf("%d packets by m%d, the first: %s", len(by), 1-link, by[0])
	}
	if len(l.sent(link)) == 0 {
		l.t.Errorf("no packet by m%d", link)
	}
}

func (l *lab) wantNone() {
	l.t.Helper()
	for i := range l.taps {
		if by := l.sent(i); len(by) > 0 {
			l.t.Errorf("%d packets by m%d, the first: %s", len(by), i, by[0])
		}
	}
}

func (l *lab) reset() {
	for _, tap := range l.taps {
		tap.Reset()
	}
}

// sending are probes of every kind that sends anything.
func sending() map[string]gateway.Probe {
	return map[string]gateway.Probe{
		"ping4":     {Kind: gateway.ProbePing, Addr: target4},
		"ping6":     {Kind: gateway.ProbePing, Addr: target6},
		"tcp4":      {Kind: gateway.ProbeTCP, Addr: target4, Port: 80},
		"tcp6":      {Kind: gateway.ProbeTCP, Addr: target6, Port: 80},
		"refused4":  {Kind: gateway.ProbeTCP, Addr: target4, Port: 81},
		"refused6":  {Kind: gateway.ProbeTCP, Addr: target6, Port: 81},
		"dns4":      {Kind: gateway.ProbeDNS, Name: "a.example", Addr: target4, Port: 53},
		"dns6":      {Kind: gateway.ProbeDNS, Name: "a.example", Addr: target6, Port: 53},
		"dns own":   {Kind: gateway.ProbeDNS, Name: "a.example"},
		"http4":     {Kind: gateway.ProbeHTTP, URL: "http://192.0.2.1/"},
		"http6":     {Kind: gateway.ProbeHTTP, URL: "http://[2001:db8::1]/"},
		"http name": {Kind: gateway.ProbeHTTP, URL: "http://cp.example/"},
	}
}

// Probes leave by the member that they ask about, and never by another one. (Guarantee 4 for
// the box's own probes.)
func TestProbesLeaveByTheirMember(t *testing.T) {
	l := newLab(t)
	for name, p := range sending() {
		for i := range l.far {
			l.reset()
			if got := l.await(l.route(i, p), ""); got.Time <= 0 {
				t.Errorf("%s: no time was measured: %+v", name, got)
			}
			l.wantOnlyBy(i)
		}
	}
	// With ping sockets, which a box has whose ping_group_range names everybody.
	l.sh("sysctl -qw net.ipv4.ping_group_range='0 2147483647'")
	for i := range l.far {
		l.reset()
		l.await(l.route(i, gateway.Probe{Kind: gateway.ProbePing, Addr: target4}, gateway.Probe{Kind: gateway.ProbePing, Addr: target6}), "")
		l.wantOnlyBy(i)
	}
	if l.await(l.route(1, gateway.Probe{Kind: gateway.ProbeHandshake}), "").Time != 0 {
		t.Error("a handshake has a time")
	}

	// The other member answers all the same: what is said is said of this one alone.
	l.far[1].silence(true)
	for _, name := range []string{"ping4", "tcp6", "dns4", "http name"} {
		l.reset()
		l.await(l.route(1, sending()[name]), "no answer within 600ms")
		l.wantOnlyBy(1)
		l.await(l.route(0, sending()[name]), "")
	}
	l.far[1].silence(false)
}

// Each kind fails for its own reasons.
func TestProbesThatFail(t *testing.T) {
	l := newLab(t)
	far := l.far[1]
	probes := sending()
	far.rcode.Store(dns.RcodeServerFailure)
	l.await(l.route(1, probes["dns4"]), "dns a.example 192.0.2.1: 192.0.2.1:53: SERVFAIL")
	l.await(l.route(1, probes["dns own"]), "SERVFAIL")
	far.rcode.Store(dns.RcodeRefused)
	l.await(l.route(1, probes["dns6"]), "REFUSED")
	far.rcode.Store(dns.RcodeNameError)
	l.await(l.route(1, probes["dns4"]), "")
	l.await(l.route(1, probes["http name"]), "no such name")
	far.rcode.Store(0)
	far.status.Store(500)
	l.await(l.route(1, probes["http4"]), "http http://192.0.2.1/: status 500")
	far.status.Store(302)
	portal := "http://portal.example/"
	far.location.Store(&portal)
	l.await(l.route(1, probes["http name"]), "redirected to another host, portal.example")
	code := probes["http4"]
	code.Code = 204
	l.await(l.route(1, code), "status 302, not 204")
	far.location.Store(nil)
	far.status.Store(204)
	l.await(l.route(1, code), "")
	// One that fails is enough.
	l.await(l.route(1, probes["ping4"], probes["http4"], gateway.Probe{Kind: gateway.ProbePing, Addr: absent4}), "ping 192.0.2.2: ")
	r := l.route(1, gateway.Probe{Kind: gateway.ProbeHandshake}, probes["ping4"])
	r.Handshake = Handshake{State: HandshakeBad, Reason: "last handshake 4m ago"}
	l.await(r, "handshake: last handshake 4m ago")
	// What nobody could look at is neither good nor bad.
	r.Handshake = Handshake{Reason: "it has no tunnel"}
	if got := l.await(r, "handshake: it has no tunnel"); !got.Unknown {
		t.Errorf("%+v", got)
	}
	r = l.route(1, probes["dns own"])
	r.Resolvers = nil
	if got := l.await(r, "no resolvers of its own"); !got.Unknown {
		t.Errorf("%+v", got)
	}

	// What cannot be sent is not sent.
	l.reset()
	r = l.route(1, probes["ping4"], probes["tcp6"])
	r.Closed = "interface m1: does not exist"
	l.await(r, "interface m1: does not exist")
	l.wantNone()
	l.sh("ip route del default via 10.0.1.2 table 102; ip -6 route del default via fd00:1::2 table 102")
	for _, p := range probes {
		l.await(l.route(1, p), ": ") // the error of a network that is unreachable
	}
	l.wantNone()

	// Another program has flushed the policy rules: table main would have them leave by m0.
	l.sh("ip rule del pref 102; ip -6 rule del pref 102")
	for _, p := range probes {
		r := l.route(1, p)
		r.Link = "m1"
		l.await(r, "*")
	}
	if by := l.sent(0); len(by) > 0 {
		t.Errorf("%d packets by m0, the first: %s", len(by), by[0])
	}
	l.sh("ip rule add pref 102 lookup main; ip -6 rule add pref 102 lookup main") // which the cleanup removes
}
