package test

import (
	"bytes"
	endian "encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// asker sends queries from the client to the box over one socket.
type asker struct {
	t    testing.TB
	conn net.Conn
	id   uint16
}

func (g *gate) newAsker(box netip.Addr) *asker {
	g.t.Helper()
	conn, err := g.Client.DialWith(net.Dialer{Timeout: 10 * time.Second}, "udp", netip.AddrPortFrom(box, 53).String())
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return &asker{t: g.t, conn: conn}
}

// reserved is a bit of the header that no answer has and that has a query go through the
// handlers, which ignore it.
const reserved = 1 << 6

// ask returns the answer to a query as it was sent, without its id. The query is sent again
// where nothing comes back, which must not change anything.
func (a *asker) ask(query []byte, flags uint16) []byte {
	a.t.Helper()
	q := slices.Clone(query)
	endian.BigEndian.PutUint16(q[2:], endian.BigEndian.Uint16(q[2:])|flags)
	b := make([]byte, dns.MaxMsgSize)
	for range 10 {
		a.id++
		endian.BigEndian.PutUint16(q, a.id)
		if _, err := a.conn.Write(q); err != nil {
			a.t.Fatal(err)
		}
		for {
			if err := a.conn.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
				a.t.Fatal(err)
			}
			n, err := a.conn.Read(b)
			if err != nil {
				break
			}
			if n > 2 && endian.BigEndian.Uint16(b) == a.id {
				return slices.Clone(b[2:n])
			}
		}
	}
	a.t.Fatalf("no answer to %x", query)
	return nil
}

// withoutTTLs returns an answer's bytes with TTLs of zero, and the TTLs.
func withoutTTLs(t testing.TB, answer []byte) (rest []byte, ttls []uint32) {
	t.Helper()
	b := append([]byte{0, 0}, answer...)
	at := 12
	skip := func() {
		_, next, err := dns.UnpackDomainName(b, at)
		if err != nil {
			t.Fatalf("answer %x: %v", answer, err)
		}
		at = next
	}
	for range endian.BigEndian.Uint16(b[4:]) {
		skip()
		at += 4
	}
	n := endian.BigEndian.Uint16(b[6:]) + endian.BigEndian.Uint16(b[8:]) + endian.BigEndian.Uint16(b[10:])
	for range n {
		skip()
		if endian.BigEndian.Uint16(b[at:]) != dns.TypeOPT {
			ttls = append(ttls, endian.BigEndian.Uint32(b[at+4:]))
			copy(b[at+4:], []byte{0, 0, 0, 0})
		}
		at += 10 + int(endian.BigEndian.Uint16(b[at+8:]))
	}
	return b[2:], ttls
}

// replays is how many answers were given from memory.
func (g *gate) replays(t *testing.T) int {
	t.Helper()
	code, page, err := g.get(9153, "/metrics")
	if err != nil || code != 200 {
		t.Fatalf("/metrics: %d, %v", code, err)
	}
	n, _ := metric(t, page, "coredns_nameroute_replayed_answers_total")
	return int(n)
}

// corpus are the queries that the answers from memory are compared by.
func corpus(t testing.TB, names []string) (all [][]byte) {
	t.Helper()
	add := func(m *dns.Msg) {
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	options := [][]dns.EDNS0{
		{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"}},
		{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IPv4(192, 0, 2, 0)}},
		{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}},
		{&dns.EDNS0_PADDING{Padding: make([]byte, 30)}},
	}
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS, dns.TypeTXT, dns.TypeMX, dns.TypeCNAME, dns.TypeNS, dns.TypeSOA, dns.TypePTR, dns.TypeDS, dns.TypeSRV, dns.TypeANY}
	for _, name := range names {
		for i, qtype := range types {
			for _, as := range []string{name, strings.ToUpper(name[:len(name)/2]) + name[len(name)/2:]} {
				ask := func(change func(m *dns.Msg)) {
					m := new(dns.Msg).SetQuestion(as+".", qtype)
					change(m)
					add(m)
				}
				ask(func(*dns.Msg) {})
				for _, size := range []uint16{0, 100, 512, 700, 1232, 4096, 65535} {
					ask(func(m *dns.Msg) { m.SetEdns0(size, false) })
				}
				for flags := range 8 {
					for _, do := range []bool{false, true} {
						ask(func(m *dns.Msg) {
							m.RecursionDesired, m.AuthenticatedData, m.CheckingDisabled = flags&1 == 0, flags&2 != 0, flags&4 != 0
							if do {
								m.SetEdns0(1232, true)
							}
						})
					}
				}
				if i > 2 {
					continue
				}
				ask(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
				ask(func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetVersion(1) })
				ask(func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().SetZ(1) })
				ask(func(m *dns.Msg) { m.Opcode = dns.OpcodeStatus })
				ask(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
				for _, o := range options {
					ask(func(m *dns.Msg) { m.SetEdns0(1232, false).IsEdns0().Option = o })
				}
			}
		}
	}
	return all
}

// An answer that is given again from memory is byte for byte what the handlers would answer at
// that moment, but for a TTL that may be a second less; and it is counted like theirs.
func TestReplayedAnswersAreTheHandlers(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.World.Add("alias.listed.example. 600 IN CNAME cdn.elsewhere.example.",
		"www.listed.example. 600 IN HTTPS 1 . alpn=h2",
		"www.listed.example. 600 IN TXT text", "www.listed.example. 600 IN MX 5 mx.listed.example.",
		"www.other.example. 600 IN SRV 1 2 3 srv.other.example.")
	for _, domain := range []string{"listed.example", "other.example", "elsewhere.example"} {
		g.World.TTL(domain, 600)
	}
	g.World.Behave("some.listed.example", netlab.Behavior{Addresses: 12})
	g.World.Behave("big.other.example", netlab.Behavior{Addresses: 120})
	g.World.Behave("nx.listed.example", netlab.Behavior{Rcode: dns.RcodeNameError})
	g.World.Behave("fail.other.example", netlab.Behavior{Rcode: dns.RcodeServerFailure})
	g.Box.WriteFiles(netlab.Setup{Plugins: "prometheus 127.0.0.1:9153\nerrors"})
	g.start()
	names := []string{"www.listed.example", "alias.listed.example", "some.listed.example", "nx.listed.example",
		"www.other.example", "big.other.example", "fail.other.example", "cdn.elsewhere.example", "1.2.0.192.in-addr.arpa"}
	before := g.replays(t)
	asked := 0
	for _, box := range []netip.Addr{g.BoxLAN.V4, g.BoxLAN.V6} {
		a := g.newAsker(box)
		for _, q := range corpus(t, names) {
			a.ask(q, 0)
			first := a.ask(q, reserved)
			a.ask(q, 0)
			again := a.ask(q, 0)
			last := a.ask(q, reserved)
			asked++
			_, most := withoutTTLs(t, first)
			got, ttls := withoutTTLs(t, again)
			want, least := withoutTTLs(t, last)
			if !bytes.Equal(got, want) {
				t.Fatalf("query %x\nanswered %x\nwant     %x", q, again, last)
			}
			for i, ttl := range ttls {
				if ttl+1 < least[i] || ttl > most[i] && least[i] <= most[i] {
					t.Errorf("query %x: TTL %d, want from %d, or a second less, to %d", q, ttl, least[i], most[i])
				}
			}
		}
	}
	if n := g.replays(t) - before; n < asked/10 {
		t.Errorf("%d of %d answers came from memory", n, asked)
	}
}

// Whatever is counted of queries and answers is counted alike, from memory or not.
func TestReplayedAnswersAreCounted(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.World.Add("alias.listed.example. 600 IN CNAME cdn.elsewhere.example.")
	for _, domain := range []string{"listed.example", "other.example", "elsewhere.example"} {
		g.World.TTL(domain, 600)
	}
	g.World.Behave("nx.other.example", netlab.Behavior{Rcode: dns.RcodeNameError})
	g.Box.WriteFiles(netlab.Setup{Plugins: "prometheus 127.0.0.1:9153\nerrors"})
	g.start()
	a := g.newAsker(g.BoxLAN.V4)
	// An answer is out before it is counted.
	page := func(since string, answers float64) (text string) {
		netlab.Eventually(t, 30*time.Second, func() error {
			code, now, err := g.get(9153, "/metrics")
			if err != nil || code != 200 {
				return fmt.Errorf("/metrics: %d, %v", code, err)
			}
			if n := sum(counts(since, now), "coredns_dns_responses_total{"); n < answers {
				return fmt.Errorf("%v answers are counted, want %v", n, answers)
			}
			text = now
			return nil
		})
		return text
	}
	before, sent := page("", 0), 0.
	for _, name := range []string{"alias.listed.example", "nx.other.example"} {
		for _, do := range []bool{false, true} {
			q, err := new(dns.Msg).SetQuestion(name+".", dns.TypeAAAA).SetEdns0(1232, do).Pack()
			if err != nil {
				t.Fatal(err)
			}
			const times = 20
			ask := func(n int, flags uint16) string {
				for range n {
					a.ask(q, flags)
				}
				sent += float64(n)
				return page(before, sent)
			}
			start := ask(3, 0)
			middle := ask(times, reserved)
			end := ask(times, 0)
			const memory = "coredns_nameroute_replayed_answers_total{"
			if was, n := counts(start, middle), counts(middle, end); sum(n, memory) == 0 {
				t.Errorf("%s, DO %v: no answer came from memory", name, do)
			} else {
				for series, by := range was {
					if n[series] != by {
						t.Errorf("%s, DO %v: %s grew by %v with %d answers from memory, by %v without", name, do, series, n[series], times, by)
					}
				}
			}
		}
	}
}

// sum is that of the series that begin with a prefix.
func sum(n map[string]float64, prefix string) (all float64) {
	for series, by := range n {
		if strings.HasPrefix(series, prefix) {
			all += by
		}
	}
	return all
}

// counted are the metrics of queries and answers.
var counted = regexp.MustCompile(`^coredns_(dns|cache|listed|route|nameroute_replayed)_`)

// counts returns by how much what counts queries and answers has grown. How long something
// took is another thing, and so are the queries by which the box watches itself.
func counts(before, after string) map[string]float64 {
	read := func(page string) map[string]float64 {
		all := map[string]float64{}
		for _, line := range strings.Split(page, "\n") {
			series, value, ok := strings.Cut(line, "} ")
			var n float64
			if !ok || !counted.MatchString(series) || strings.Contains(series, "duration") || strings.Contains(series, `zone="dropped"`) {
				continue
			}
			if _, err := fmt.Sscan(value, &n); err == nil {
				all[series+"}"] = n
			}
		}
		return all
	}
	was, grown := read(before), map[string]float64{}
	for series, n := range read(after) {
		if n != was[series] {
			grown[series] = n - was[series]
		}
	}
	return grown
}

// Guarantee 1: set before answer.
// Guarantee 6: no bypass.
// From the moment on when a reload is complete, no answer from before it comes from memory: a
// name that left its list is asked by the WAN, one that joined by the tunnel, and with
// `replay off`, or a plugin that sees every query, none comes from memory at all.
func TestReplayedAnswersFollowReloads(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	for _, domain := range []string{"listed.example", "other.example"} {
		g.World.TTL(domain, 600)
	}
	g.Box.WriteFiles(netlab.Setup{Plugins: "prometheus 127.0.0.1:9153\nerrors"})
	g.start()
	corefile := g.read("Corefile")
	warm := func() (gained int) {
		t.Helper()
		before := g.replays(t)
		for range 4 {
			g.resolve("www.listed.example")
			g.resolve("www.other.example")
		}
		return g.replays(t) - before
	}
	awaitReplays := func(when string) {
		t.Helper()
		netlab.Eventually(t, 30*time.Second, func() error { return netlab.Check(warm() > 0, "%s: nothing comes from memory", when) })
	}
	reload := func() {
		t.Helper()
		g.nameroute("reload")
		g.Reset()
	}
	awaitReplays("before")
	for _, listed := range []string{"other.example", "listed.example"} {
		g.Box.Write("mine.txt", listed+"\n")
		reload()
		route := map[bool]netlab.Egress{true: netlab.ViaVPN, false: netlab.ViaWAN}
		for _, domain := range []string{"other.example", "listed.example"} {
			// The block that has the name now asks for it, unless its own cache has it, which
			// the other one's must not answer.
			addrs := g.resolve("www." + domain)
			for _, q := range g.World.Queries("www." + domain) {
				if want := route[domain == listed]; q.Egress != want {
					t.Errorf("with %s listed: %s, want it via %s", listed, q, want)
				}
			}
			if domain == listed {
				g.wantLearned("vpn", addrs...)
				g.wantVia(g.Client, netlab.ViaVPN, addrs...)
			}
		}
		awaitReplays("with " + listed + " listed")
	}
	for plugin, why := range map[string]string{"replay off": "replay off", "log": "log sees every query"} {
		g.Box.Write("Corefile", strings.ReplaceAll(corefile, "    errors\n", "    errors\n    "+plugin+"\n"))
		reload()
		if n := warm(); n > 0 {
			t.Errorf("%s: %d answers came from memory", plugin, n)
		}
		if status := g.printedStatus(); !strings.Contains(status, why) {
			t.Errorf("%s: status does not say %q:\n%s", plugin, why, status)
		}
	}
	g.Box.Write("Corefile", corefile)
	reload()
	awaitReplays("with the setting taken back")
}
