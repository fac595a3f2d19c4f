package test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

const (
	soakPool = 2000 // fresh names, which come again and again
	// What may come on top of what the process held after all events once.
	soakMoreFiles, soakMoreRoutines, soakMoreMemory = 40, 150, 100 << 20
)

// soak is a gateway that is never left alone.
type soak struct {
	*gate
	pulses []*pulse
	faults []string
	base   holdings
	rows   map[string]*soakRow
	order  []string
	began  time.Time
	sent   atomic.Int64
}

// soakRow is what an event cost.
type soakRow struct {
	count int
	gaps  map[string]time.Duration // the worst, by pulse
	back  time.Duration            // the longest until everything was answered again
}

// holdings are what must not grow.
type holdings struct{ fds, goroutines, memory, elements int }

func newSoak(t testing.TB) *soak {
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.World.TTL("fresh.listed.example", 1)
	g.World.TTL("fresh.other.example", 1)
	g.Box.WriteFiles(netlab.Setup{Plugins: "prometheus 127.0.0.1:9153\nreload 2s 0s"})
	g.start(quickDown...)
	s := &soak{gate: g, rows: map[string]*soakRow{}, began: time.Now()}
	addrs := g.resolve("www.listed.example")
	for i, family := range []string{"v4", "v6"} {
		s.pulse("tcp "+family, 30*time.Millisecond, s.tcp(addrs[i]))
		s.pulse("udp "+family, 15*time.Millisecond, s.udp(addrs[i]))
	}
	s.pulse("listed cached", 20*time.Millisecond, s.dns("listed.example", false))
	s.pulse("listed fresh", 20*time.Millisecond, s.dns("listed.example", true))
	s.pulse("other fresh", 20*time.Millisecond, s.dns("other.example", true))
	s.newFlows(addrs)
	s.allBack(10 * time.Second)
	g.Reset()
	return s
}

func (s *soak) fault(format string, args ...any) {
	s.faults = append(s.faults, fmt.Sprintf("%v: ", time.Since(s.began).Round(time.Millisecond))+fmt.Sprintf(format, args...))
}

// run has an event happen, waits until everything is answered again, and looks at what
// left meanwhile.
func (s *soak) run(e soakEvent) {
	s.t.Helper()
	for _, p := range s.pulses {
		p.reset()
	}
	e.do()
	done := time.Now()
	if late := s.allBack(e.limit * netlab.Slack()); len(late) > 0 {
		s.fault("%s: not answered again within %v: %s", e.name, e.limit*netlab.Slack(), strings.Join(late, ", "))
	}
	row := s.rows[e.name]
	if row == nil {
		row = &soakRow{gaps: map[string]time.Duration{}}
		s.rows[e.name] = row
		s.order = append(s.order, e.name)
	}
	row.count++
	row.back = max(row.back, time.Since(done))
	for _, p := range s.pulses {
		row.gaps[p.name] = max(row.gaps[p.name], p.worst())
	}
	s.pure(e.name)
	s.bounded()
}

// pure wants that nothing of listed names has left via the WAN since the last time.
func (s *soak) pure(what string) {
	s.Settle()
	listed := func(p wire.Packet) bool { return isListed(s.World.Owner(p.Dst.Addr())) }
	if leaked := s.ISP.Clear(listed); len(leaked) > 0 {
		s.fault("%s: %d packets to listed names in the clear, the first: %s", what, len(leaked), leaked[0])
	}
	for _, q := range s.World.Queries("listed.example") {
		if q.Egress == netlab.ViaWAN {
			s.fault("%s: asked via the WAN: %s", what, q)
			break
		}
	}
	if leaked := s.ISP.Tap.Packets(wire.Went(wire.In), wire.Asks("listed.example")); len(leaked) > 0 {
		s.fault("%s: %d queries about listed names at the ISP, the first: %s", what, len(leaked), leaked[0])
	}
	s.Reset()
}

func isListed(name string) bool { return strings.HasSuffix(name, "listed.example") }

// settle takes what the process holds now as what it may hold.
func (s *soak) settle() {
	time.Sleep(time.Second)
	s.base = s.holds()
}

func (s *soak) holds() (h holdings) {
	h.fds, h.goroutines = s.held()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.p.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kB int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kB); err == nil {
			h.memory = kB << 10
		}
	}
	h.elements = len(s.elements())
	return h
}

// bounded wants that nothing has grown.
func (s *soak) bounded() {
	if s.base == (holdings{}) {
		return
	}
	h := s.holds()
	most := holdings{s.base.fds + soakMoreFiles, s.base.goroutines + soakMoreRoutines, s.base.memory*3/2 + soakMoreMemory, 2*soakPool + 2000}
	if h.fds > most.fds || h.goroutines > most.goroutines || h.memory > most.memory || h.elements > most.elements {
		s.fault("it has grown (open files, goroutines, bytes, elements): %v, want at most %v", h, most)
	}
}

// table prints what each event cost.
func (s *soak) table() {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %d new flows; longest time without an answer, over all events of a kind:\n%-16s %5s", time.Since(s.began).Round(time.Second), s.sent.Load(), "event", "count")
	for _, p := range s.pulses {
		fmt.Fprintf(&b, " %13s", p.name)
	}
	fmt.Fprintf(&b, " %10s\n", "all back")
	for _, name := range s.order {
		row := s.rows[name]
		fmt.Fprintf(&b, "%-16s %5d", name, row.count)
		for _, p := range s.pulses {
			fmt.Fprintf(&b, " %13v", row.gaps[p.name].Round(time.Millisecond))
		}
		fmt.Fprintf(&b, " %10v\n", row.back.Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "open files, goroutines, bytes, elements: %v, after all events once %v", s.holds(), s.base)
	s.t.Log(b.String())
}

// pulse is something that is asked again and again.
type pulse struct {
	name string

	mu       sync.Mutex
	answered int64
	gap      time.Duration
	last     time.Time
}

// pulse asks at a pace, one query at a time, until the test ends.
func (s *soak) pulse(name string, pace time.Duration, ask func(n int) error) {
	p := &pulse{name: name, last: time.Now()}
	s.pulses = append(s.pulses, p)
	s.background(func(stop <-chan struct{}) {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(pace):
			}
			if ask(n) != nil {
				continue
			}
			p.mu.Lock()
			p.answered++
			p.gap, p.last = max(p.gap, time.Since(p.last)), time.Now()
			p.mu.Unlock()
		}
	})
}

// background runs f until the test ends.
func (s *soak) background(f func(stop <-chan struct{})) {
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() { f(stop) })
	s.t.Cleanup(func() { close(stop); done.Wait() })
}

func (p *pulse) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gap, p.last = 0, time.Now()
}

func (p *pulse) worst() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.gap, time.Since(p.last))
}

func (p *pulse) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// allBack waits until every pulse has been answered three times more, and returns those
// that have not.
func (s *soak) allBack(limit time.Duration) (late []string) {
	want := map[*pulse]int64{}
	for _, p := range s.pulses {
		want[p] = p.count() + 3
	}
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		late = late[:0]
		for _, p := range s.pulses {
			if p.count() < want[p] {
				late = append(late, p.name)
			}
		}
		if len(late) == 0 || time.Now().After(end) {
			return late
		}
	}
}

// soakPatience is how long a query waits for its answer.
const soakPatience = 500 * time.Millisecond

// dns asks the box: fresh names, or one name, over all transports in turn.
func (s *soak) dns(domain string, fresh bool) func(int) error {
	return func(n int) error {
		name := "www." + domain
		if fresh {
			name = fmt.Sprintf("n%d.fresh.%s", n%soakPool, domain)
		}
		proto, server := protos[n%len(protos)], s.BoxLAN.V4
		if strings.HasSuffix(proto, "6") {
			server = s.BoxLAN.V6
		}
		conn, err := s.Client.DialWith(net.Dialer{Timeout: soakPatience}, strings.TrimSuffix(proto, "6"), netip.AddrPortFrom(server, 53).String())
		if err != nil {
			return err
		}
		c := &dns.Conn{Conn: conn}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(soakPatience)); err != nil {
			return err
		}
		if err := c.WriteMsg(newQuery(name)); err != nil {
			return err
		}
		reply, err := c.ReadMsg()
		if err == nil && (reply.Rcode != dns.RcodeSuccess || len(reply.Answer) == 0) {
			err = fmt.Errorf("rcode %d", reply.Rcode)
		}
		return err
	}
}

// tcp asks over one long connection, and opens another where that has ended.
func (s *soak) tcp(to netip.Addr) func(int) error {
	var conn net.Conn
	buf := make([]byte, 8)
	s.t.Cleanup(func() {
		if conn != nil {
			conn.Close()
		}
	})
	return func(int) (err error) {
		if conn == nil {
			if conn, err = s.openTCP(to); err != nil {
				return err
			}
		}
		// A connection lives through a gap; it is given up when it says so itself.
		if err = conn.SetDeadline(time.Now().Add(30 * time.Second)); err == nil {
			_, err = conn.Write(buf)
		}
		if err == nil {
			_, err = conn.Read(buf)
		}
		if err != nil {
			conn.Close()
			conn = nil
		}
		return err
	}
}

// openTCP connects to a host and reads its greeting.
func (s *soak) openTCP(to netip.Addr) (net.Conn, error) {
	conn, err := s.Client.DialWith(net.Dialer{Timeout: soakPatience}, "tcp", netip.AddrPortFrom(to, netlab.EchoPort).String())
	if err != nil {
		return nil, err
	}
	if err = conn.SetDeadline(time.Now().Add(soakPatience)); err == nil {
		for one := make([]byte, 1); err == nil && one[0] != '\n'; {
			_, err = conn.Read(one)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// udp asks over one socket.
func (s *soak) udp(to netip.Addr) func(int) error {
	conn, err := s.Client.Dial("udp", netip.AddrPortFrom(to, netlab.EchoPort).String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	buf := make([]byte, 512)
	return func(int) error {
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond)) // of an open socket
		if _, err := conn.Write([]byte("soak")); err != nil {
			return err
		}
		_, err := conn.Read(buf)
		return err
	}
}

// newFlows sends 200 packets a second, each of a flow that is new, to which no answer
// is awaited: what leaves by the wrong egress is seen at the ISP.
func (s *soak) newFlows(addrs []netip.Addr) {
	s.background(func(stop <-chan struct{}) {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			conn, err := s.Client.Dial("udp", netip.AddrPortFrom(addrs[n%len(addrs)], netlab.EchoPort).String())
			if err != nil {
				continue
			}
			_, _ = conn.Write([]byte("new")) // the gateway may refuse it, which is fine
			conn.Close()
			s.sent.Add(1)
		}
	})
	s.t.Cleanup(func() {
		if s.sent.Load() < 100 {
			s.t.Errorf("only %d new flows: that proves nothing", s.sent.Load())
		}
	})
}
