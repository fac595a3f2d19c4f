//go:build vm

package test

import (
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/test/netlab"
)

// The system's clock is set ahead and back by hours and years while all runs, and is
// that of 1970 at a start. There is no clock of a namespace's own, so this test is only
// in the binary that `make vm-test` makes, whose machine ends with it.
func TestClockJumps(t *testing.T) {
	if os.Getenv("NAMEROUTE_VM") != "1" {
		t.Fatal("this sets the machine's clock: only for test/vm")
	}
	g := newGate(t, netlab.Setup{})
	g.World.Add("www.listed.example. 300 IN CNAME edge.cdn.example.")
	addrs := g.resolve("www.listed.example")
	flows := g.flows(g.Client, netlab.ViaVPN, addrs...)
	g.Reset()
	began := time.Now()
	right := func() time.Time { return began.Round(0).Add(time.Since(began)) }
	t.Cleanup(func() { setClock(t, right()) })
	opened := g.flood(netlab.ViaVPN, addrs...)
	before := g.left(addrs[0])
	for _, c := range []struct {
		name string
		at   time.Time
	}{
		{"three hours ahead", right().Add(3 * time.Hour)},
		{"ten years ahead", right().AddDate(10, 0, 0)},
		{"two hours back", right().Add(-2 * time.Hour)},
		{"1970", unset(t)},
		{"right", right()},
	} {
		setClock(t, c.at)
		time.Sleep(time.Second)
		g.wantElements(true, addrs...)
		if left, most := g.left(addrs[0]), before-time.Since(began); left < most-10*time.Second || left > most+10*time.Second {
			t.Errorf("%s: %s lives another %v, want about %v", c.name, addrs[0], left, most)
		}
		flows.wantProgress()
		for _, name := range []string{"www.listed.example", "edge.cdn.example"} {
			reply := g.query(name, dns.TypeA, "udp")
			if ttl := reply.Answer[len(reply.Answer)-1].Header().Ttl; ttl > 300 {
				t.Errorf("%s: %s has a TTL of %d", c.name, name, ttl)
			}
		}
		fresh := g.resolve("at-" + c.at.Format("2006-01-02-15") + ".listed.example")
		g.wantVia(g.Client, netlab.ViaVPN, append(fresh, addrs...)...)
		g.wantVia(g.Client, netlab.ViaWAN, g.resolve("at-"+c.at.Format("2006-01-02-15")+".other.example")...)
		tcp, udp := flows.worst()
		t.Logf("%s: longest gap over TCP %v, over UDP %v", c.name, tcp, udp)
		flows.resetGap()
		if n := linesWith(g.p.Output(), "route is down"); n > 0 {
			t.Errorf("%s: a route was taken for down:\n%s", c.name, g.p.Output())
		}
	}
	t.Logf("%d new flows meanwhile", opened.stop(g))

	// A reboot to a clock that is not set: nothing that was stored has ended.
	g.stop(g.p)
	setClock(t, unset(t))
	g.WANDown() // or what is not held back would leave by it
	g.killHolder()
	netlab.Eventually(t, 30*time.Second, func() error { // until the kernel has closed the holder's files
		_, err := g.Box.Exec("nft", "delete", "table", "inet", "nameroute")
		return err
	})
	g.p = g.Box.Launch(binary, "run")
	g.logs(g.p)
	g.p.WaitOutput("nameroute: started", 15*time.Second)
	if left := g.left(addrs[0]); left < time.Minute {
		t.Errorf("with a clock that is not set %s lives another %v", addrs[0], left)
	}
	g.wantElements(true, addrs...)
	g.WANUp()
	setClock(t, right())
	time.Sleep(time.Second)
	if left := g.left(addrs[0]); left < time.Minute {
		t.Errorf("when the clock was set %s lived another %v", addrs[0], left)
	}
	flows.wantProgress()
	g.wantNoneClear(addrs...)
	g.wantNoQueryByWAN("listed.example")
}

// unset is a clock of 1970. The kernel has none that is behind its time since boot.
func unset(t *testing.T) time.Time {
	t.Helper()
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		t.Fatal(err)
	}
	return time.Unix(up.Sec+1000, 0)
}

func setClock(t *testing.T, at time.Time) {
	t.Helper()
	ts := unix.NsecToTimespec(at.UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		t.Fatal(err)
	}
}
