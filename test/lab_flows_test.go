package test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// flows are long-lived flows over TCP and UDP, a pair for each address.
type flows struct {
	g   *gate
	tcp []*netlab.Flow
	udp []*datagrams
}

// flows opens flows, which must take one egress.
func (g *gate) flows(from *netlab.Host, want netlab.Egress, addrs ...netip.Addr) *flows {
	g.t.Helper()
	return g.openFlows(from, want, want, addrs)
}

// flowsOfEither opens flows that take one egress now, of which datagrams may move.
func (g *gate) flowsOfEither(from *netlab.Host, now netlab.Egress, addrs ...netip.Addr) *flows {
	g.t.Helper()
	return g.openFlows(from, now, "", addrs)
}

func (g *gate) openFlows(from *netlab.Host, want, ofDatagrams netlab.Egress, addrs []netip.Addr) *flows {
	g.t.Helper()
	f := &flows{g: g}
	for _, a := range addrs {
		tcp := from.Flow(a)
		if tcp.Egress != want {
			g.t.Fatalf("flow from %s to %s goes by %s, want %s", from.Name, a, tcp.Egress, want)
		}
		f.tcp, f.udp = append(f.tcp, tcp), append(f.udp, g.datagrams(from, a, ofDatagrams))
	}
	f.wantProgress()
	return f
}

// goesOnWithin bounds the wait for a flow to go on. It is no measure of the product: a
// machine whose processors are busy with other things lets TCP wait for seconds, and after a
// silence TCP tries again after as long as that has lasted.
const goesOnWithin = 60 * time.Second

// wantProgress waits until every flow has sent something and had it answered.
func (f *flows) wantProgress() {
	f.g.t.Helper()
	limit := goesOnWithin * netlab.Slack()
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

// sent is how much all flows have sent so far.
func (f *flows) sent() (n uint64) {
	for _, x := range f.tcp {
		n += x.Report().Sent
	}
	for _, x := range f.udp {
		x.mu.Lock()
		n += x.sent
		x.mu.Unlock()
	}
	return n
}

// close ends the flows.
func (f *flows) close() {
	for _, x := range f.tcp {
		x.Close()
	}
	for _, x := range f.udp {
		x.conn.Close()
	}
}

// datagrams is a flow over UDP: a datagram every 10 ms, on one socket, to a host
// that answers with the source that it sees. An answer by a wrong egress fails the test;
// without a way that is wanted, any will do.
type datagrams struct {
	to   netip.Addr
	conn net.Conn

	mu             sync.Mutex
	sent, answered uint64
	gap            time.Duration
	last           time.Time
}

func (g *gate) datagrams(from *netlab.Host, to netip.Addr, want netlab.Egress) *datagrams {
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

func (d *datagrams) receive(g *gate, want netlab.Egress) {
	buf := make([]byte, 512)
	for {
		n, err := d.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error
			continue
		}
		var number uint64
		source, text, _ := strings.Cut(string(buf[:n]), " ")
		from, err := netip.ParseAddrPort(source)
		if _, scanErr := fmt.Sscan(text, &number); err != nil || scanErr != nil || want != "" && g.Egress(from.Addr()) != want {
			g.t.Errorf("a datagram of a flow to %s went by %s: %q", d.to, g.Egress(from.Addr()), buf[:n])
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
	return netlab.Poll(limit, func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return netlab.Check(d.answered >= target, "datagram %d of %d answered", d.answered, target)
	}) == nil
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
