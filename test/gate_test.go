package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// swift are the arguments of a nameroute that takes a tunnel for down after 2 s
// without an answer, and not after three minutes.
var swift = []string{"run", "--handshake-limit", "2s", "--probe-interval", "100ms"}

// The race detector would keep every process that ends for a second.
func init() { os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")) }

// gate is a lab whose box runs nameroute.
type gate struct {
	*netlab.Lab
	t testing.TB
	p *netlab.Process // the nameroute that was started last
}

// newGate makes a lab with the files of a setup and starts nameroute there. Without
// arguments that is `run`. It returns when a listed name is answered.
func newGate(t testing.TB, s netlab.Setup, args ...string) *gate {
	t.Helper()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(s)
	g.start(args...)
	return g
}

// bareGate makes a lab and starts nothing.
func bareGate(t testing.TB, o netlab.Options) *gate {
	t.Helper()
	return &gate{Lab: netlab.New(t, o), t: t}
}

// start starts nameroute and waits until names below ready.listed.example are
// answered: table, tunnel and resolver work then.
func (g *gate) start(args ...string) *netlab.Process {
	g.t.Helper()
	if len(args) == 0 {
		args = []string{"run"}
	}
	g.p = g.Box.StartProduct(binary, args...)
	g.logs(g.p)
	g.Box.AwaitNames("ready.listed.example", 10*time.Second)
	return g.p
}

// logs shows what a process wrote where the test fails, and has it fail where that is
// a crash or a data race.
func (g *gate) logs(p *netlab.Process) {
	g.t.Cleanup(func() {
		for _, fault := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if strings.Contains(p.Output(), fault) {
				g.t.Errorf("process %d: %s", p.Pid, fault)
			}
		}
		if g.t.Failed() {
			g.t.Logf("process %d:\n%s", p.Pid, p.Output())
		}
	})
}

// resolve asks for a name that must have an address of each family.
func (g *gate) resolve(name string) []netip.Addr {
	g.t.Helper()
	addrs, err := g.Client.Resolve(name)
	if err != nil || len(addrs) != 2 {
		g.t.Fatalf("%s: %v, error %v, want an address of each family", name, addrs, err)
	}
	return addrs
}

// wantWay sends over TCP and UDP to each address and wants all to go one way.
func (g *gate) wantWay(from *netlab.Host, want netlab.Way, addrs ...netip.Addr) {
	g.t.Helper()
	for _, a := range addrs {
		if way, err := from.Connect(a); err != nil || way != want {
			g.t.Errorf("%s to %s over TCP: by %q, %v; want %s", from.Name, a, way, err, want)
		}
		if way, err := from.Ask(a); err != nil || way != want {
			g.t.Errorf("%s to %s over UDP: by %q, %v; want %s", from.Name, a, way, err, want)
		}
	}
}

// awaitWay waits until TCP and UDP to each address go one way, and returns how long
// that took.
func (g *gate) awaitWay(from *netlab.Host, want netlab.Way, limit time.Duration, addrs ...netip.Addr) time.Duration {
	g.t.Helper()
	const patience = 300 * time.Millisecond
	began := time.Now()
	for _, a := range addrs {
		for _, try := range []func(netip.Addr, time.Duration) (netlab.Way, error){from.ConnectWithin, from.AskWithin} {
			for {
				way, err := try(a, patience)
				if err == nil && way == want {
					break
				}
				if time.Since(began) > limit {
					g.t.Fatalf("%s to %s: by %q, %v, still after %v; want %s", from.Name, a, way, err, limit, want)
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	return time.Since(began)
}

// wantClosed sends over TCP and UDP to each address and wants no answer.
func (g *gate) wantClosed(from *netlab.Host, addrs ...netip.Addr) {
	g.t.Helper()
	const patience = 150 * time.Millisecond
	for _, a := range addrs {
		if way, err := from.ConnectWithin(a, patience); err == nil {
			g.t.Errorf("%s to %s over TCP went by %s; want it closed", from.Name, a, way)
		}
		if way, err := from.AskWithin(a, patience); err == nil {
			g.t.Errorf("%s to %s over UDP went by %s; want it closed", from.Name, a, way)
		}
	}
}

// wantNoneClear wants that not one packet to these addresses left by the WAN since
// the last Reset.
func (g *gate) wantNoneClear(addrs ...netip.Addr) {
	g.t.Helper()
	g.Settle()
	if leaked := g.ISP.Clear(netlab.To(addrs...)); len(leaked) > 0 {
		g.t.Errorf("%d packets to listed names left in the clear, the first: %s", len(leaked), leaked[0])
	}
}

// wantNoQueryByWAN wants that no question about names below domain left by the WAN
// since the last Reset.
func (g *gate) wantNoQueryByWAN(domain string) {
	g.t.Helper()
	g.Settle()
	for _, q := range g.World.Queries(domain) {
		if q.Way == netlab.ByWAN {
			g.t.Errorf("asked by the WAN: %s", q)
		}
	}
	if leaked := g.ISP.Tap.Packets(netlab.Went(netlab.In), netlab.Asks(domain)); len(leaked) > 0 {
		g.t.Errorf("%d questions about %s seen at the ISP, the first: %s", len(leaked), domain, leaked[0])
	}
}

// flows are long-lived flows over TCP and UDP, a pair for each address.
type flows struct {
	g   *gate
	tcp []*netlab.Flow
	udp []*datagrams
}

// flows opens flows, which must go one way.
func (g *gate) flows(from *netlab.Host, want netlab.Way, addrs ...netip.Addr) *flows {
	g.t.Helper()
	f := &flows{g: g}
	for _, a := range addrs {
		tcp := from.Flow(a)
		if tcp.Way != want {
			g.t.Fatalf("flow from %s to %s goes by %s, want %s", from.Name, a, tcp.Way, want)
		}
		f.tcp, f.udp = append(f.tcp, tcp), append(f.udp, g.datagrams(from, a, want))
	}
	f.wantProgress(2 * time.Second)
	return f
}

// wantProgress waits until every flow has sent something and had it answered.
func (f *flows) wantProgress(limit time.Duration) {
	f.g.t.Helper()
	for _, tcp := range f.tcp {
		if !tcp.Progress(limit) {
			f.g.t.Errorf("a TCP flow does not go on within %v: %s", limit, tcp.Report())
		}
	}
	for _, udp := range f.udp {
		if !udp.progress(limit) {
			f.g.t.Errorf("a UDP flow to %s does not go on within %v", udp.to, limit)
		}
	}
}

// resetGap forgets the gaps so far.
func (f *flows) resetGap() {
	for _, tcp := range f.tcp {
		tcp.ResetGap()
	}
	for _, udp := range f.udp {
		udp.resetGap()
	}
}

// worst is the longest time without an answer, over TCP and over UDP.
func (f *flows) worst() (tcp, udp time.Duration) {
	for _, x := range f.tcp {
		tcp = max(tcp, x.Report().Gap)
	}
	for _, x := range f.udp {
		udp = max(udp, x.worst())
	}
	return tcp.Round(time.Millisecond), udp.Round(time.Millisecond)
}

// datagrams is a flow over UDP: a datagram every 10 ms, on one socket, to a host
// that answers with the source that it sees. An answer by a wrong way fails the test;
// without a way that is wanted, any will do.
type datagrams struct {
	to   netip.Addr
	conn net.Conn

	mu             sync.Mutex
	sent, answered uint64
	gap            time.Duration
	last           time.Time
}

func (g *gate) datagrams(from *netlab.Host, to netip.Addr, want netlab.Way) *datagrams {
	g.t.Helper()
	conn, err := from.Dial("udp", netip.AddrPortFrom(to, netlab.EchoPort).String())
	if err != nil {
		g.t.Fatal(err)
	}
	d := &datagrams{to: to, conn: conn, last: time.Now()}
	var done sync.WaitGroup
	done.Go(d.send)
	done.Go(func() { d.receive(g, want) })
	g.t.Cleanup(func() { conn.Close(); done.Wait() })
	return d
}

// send goes on when the kernel refuses: the route may be closed for a while.
func (d *datagrams) send() {
	for n := uint64(1); ; n++ {
		if _, err := fmt.Fprint(d.conn, n); errors.Is(err, net.ErrClosed) {
			return
		}
		d.mu.Lock()
		d.sent = n
		d.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func (d *datagrams) receive(g *gate, want netlab.Way) {
	buf := make([]byte, 512)
	for {
		n, err := d.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // what ICMP said
			continue
		}
		var number uint64
		source, text, _ := strings.Cut(string(buf[:n]), " ")
		from, err := netip.ParseAddrPort(source)
		if _, scanErr := fmt.Sscan(text, &number); err != nil || scanErr != nil || want != "" && g.Way(from.Addr()) != want {
			g.t.Errorf("a datagram of a flow to %s went by %s: %q", d.to, g.Way(from.Addr()), buf[:n])
		}
		d.mu.Lock()
		d.answered = max(d.answered, number)
		d.gap, d.last = max(d.gap, time.Since(d.last)), time.Now()
		d.mu.Unlock()
	}
}

func (d *datagrams) progress(limit time.Duration) bool {
	d.mu.Lock()
	target := d.sent + 1
	d.mu.Unlock()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		reached := d.answered >= target
		d.mu.Unlock()
		if reached {
			return true
		}
	}
	return false
}

func (d *datagrams) worst() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.gap, time.Since(d.last))
}

func (d *datagrams) resetGap() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gap, d.last = 0, time.Now()
}

// nameroute runs a subcommand to its end with the box's files; it must succeed.
func (g *gate) nameroute(args ...string) string {
	g.t.Helper()
	return g.Box.Run(append(append([]string{binary}, args...), g.Box.Flags()...)...)
}
