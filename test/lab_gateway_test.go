package test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// quickDown are the arguments of a nameroute that takes a tunnel for down after 2 s
// without an answer, and not after three minutes.
var quickDown = []string{"run", "--handshake-limit", "2s", "--probe-interval", "100ms"}

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

// in is the same gate for a subtest, which its failures end.
func (g *gate) in(t testing.TB) *gate {
	sub := *g
	sub.t = t
	return &sub
}

// start starts nameroute and waits until names below ready.listed.example are answered
// and its control socket is: table, tunnel and resolver work then, and so do commands.
func (g *gate) start(args ...string) *netlab.Process {
	g.t.Helper()
	if len(args) == 0 {
		args = []string{"run"}
	}
	g.p = g.Box.StartProduct(binary, args...)
	g.logs(g.p)
	g.Box.AwaitNames("ready.listed.example", 10*time.Second)
	g.awaitControl(args[0])
	return g.p
}

// awaitControl waits until a part, or all of them with "run", can be spoken to.
func (g *gate) awaitControl(part string) {
	g.t.Helper()
	socket := "/run/nameroute/control.sock"
	if part != "run" {
		socket = "/run/nameroute/" + part + ".sock"
	}
	netlab.Eventually(g.t, 10*time.Second, func() (err error) {
		g.Box.Do(func() {
			var conn net.Conn
			if conn, err = net.Dial("unix", socket); err == nil {
				conn.Close()
			}
		})
		return err
	})
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

// resolve queries a name that must have an address of each family.
func (g *gate) resolve(name string) []netip.Addr {
	g.t.Helper()
	addrs, err := g.Client.Resolve(name)
	if err != nil || len(addrs) != 2 {
		g.t.Fatalf("%s: %v, error %v, want an address of each family", name, addrs, err)
	}
	return addrs
}

// wantVia sends over TCP and UDP to each address and wants all to take one egress.
func (g *gate) wantVia(from *netlab.Host, want netlab.Egress, addrs ...netip.Addr) {
	g.t.Helper()
	for _, a := range addrs {
		if egress, err := from.Connect(a); err != nil || egress != want {
			g.t.Errorf("%s to %s over TCP: by %q, %v; want %s", from.Name, a, egress, err, want)
		}
		if egress, err := from.Ask(a); err != nil || egress != want {
			g.t.Errorf("%s to %s over UDP: by %q, %v; want %s", from.Name, a, egress, err, want)
		}
	}
}

// awaitVia waits until TCP and UDP to each address take one egress, and returns how long
// that took.
func (g *gate) awaitVia(from *netlab.Host, want netlab.Egress, limit time.Duration, addrs ...netip.Addr) time.Duration {
	g.t.Helper()
	const least, most = 300 * time.Millisecond, 3 * time.Second // a busy machine gets more
	began := time.Now()
	for _, a := range addrs {
		for _, try := range []func(netip.Addr, time.Duration) (netlab.Egress, error){from.ConnectWithin, from.AskWithin} {
			patience := least
			netlab.Eventually(g.t, limit, func() error {
				egress, err := try(a, patience)
				patience = min(patience*5/4, most)
				return netlab.Check(err == nil && egress == want, "%s to %s: by %q, %v; want %s", from.Name, a, egress, err, want)
			})
		}
	}
	return time.Since(began)
}

// wantClosed sends over TCP and UDP to each address and wants no answer.
func (g *gate) wantClosed(from *netlab.Host, addrs ...netip.Addr) {
	g.t.Helper()
	const patience = 150 * time.Millisecond
	for _, a := range addrs {
		if egress, err := from.ConnectWithin(a, patience); err == nil {
			g.t.Errorf("%s to %s over TCP went by %s; want it closed", from.Name, a, egress)
		}
		if egress, err := from.AskWithin(a, patience); err == nil {
			g.t.Errorf("%s to %s over UDP went by %s; want it closed", from.Name, a, egress)
		}
	}
}

// wantNoneClear wants that not one packet to these addresses left via the WAN since
// the last Reset.
func (g *gate) wantNoneClear(addrs ...netip.Addr) {
	g.t.Helper()
	g.Settle()
	if leaked := g.ISP.Clear(wire.To(addrs...)); len(leaked) > 0 {
		g.t.Errorf("%d packets to listed names left in the clear, the first: %s", len(leaked), leaked[0])
	}
}

// wantNoQueryByWAN wants that no query about names below domain left via the WAN
// since the last Reset.
func (g *gate) wantNoQueryByWAN(domain string) {
	g.t.Helper()
	g.Settle()
	for _, q := range g.World.Queries(domain) {
		if q.Egress == netlab.ViaWAN {
			g.t.Errorf("asked via the WAN: %s", q)
		}
	}
	if leaked := g.ISP.FromBox(wire.Asks(domain)); len(leaked) > 0 {
		g.t.Errorf("%d queries about %s seen at the ISP, the first: %s", len(leaked), domain, leaked[0])
	}
}

// nameroute runs a subcommand to its end with the box's files; it must succeed.
func (g *gate) nameroute(args ...string) string {
	g.t.Helper()
	return g.Box.Run(append(append([]string{binary}, args...), g.Box.Flags()...)...)
}

// printedStatus is what `nameroute status` prints. Its exit code is 11 as long as a route waits
// for a handshake, which does not matter to a test of something else.
func (g *gate) printedStatus(args ...string) string {
	g.t.Helper()
	out, err := g.Box.Exec(append(append([]string{binary, "status"}, args...), g.Box.Flags()...)...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 11) {
		g.t.Fatalf("status: %v\n%s", err, out)
	}
	return out
}
