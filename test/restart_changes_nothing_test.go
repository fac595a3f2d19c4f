package test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// What the embedded WireGuard knows lives in the process and ends with it.
var ofTheProcess = regexp.MustCompile(`what="(fwmark|private key|peer \S+ added)|count=3 first="fwmark `)

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// Applied twice, nothing changes the second time: neither by a restart, nor by a
// reload of the same files.
func TestRestartWithTheSameFilesChangesNothing(t *testing.T) {
	t.Parallel()
	for _, owner := range []string{"auto", "off"} {
		t.Run("owner "+owner, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, netlab.Setup{Gateway: "owner: " + owner})
			addrs := g.resolve("www.listed.example")
			g.wantSettledTable()
			before, elements := g.kernelState(), g.elements()
			for range 2 {
				if err := g.p.Stop(); err != nil {
					t.Errorf("SIGTERM: ended with %v", err)
				}
				g.wantSame("after the stop", before, g.kernelState())
				monitor := g.Box.Start("ip", "monitor", "rule", "route", "address")
				tables := g.Box.Start("nft", "monitor", "ruleset")
				g.awaitListening(monitor, tables)
				g.start()
				g.wantSettledTable()
				g.nameroute("reload")
				time.Sleep(200 * time.Millisecond)
				g.wantSame("after the restart", before, g.kernelState())
				for line := range strings.Lines(g.p.Output()) {
					if strings.Contains(line, "changed") && !ofTheProcess.MatchString(line) {
						t.Errorf("the restart changed something: %s", line)
					}
				}
				if logged := strings.TrimSpace(monitor.Output()); logged != "" {
					t.Errorf("events of rules, routes and addresses:\n%s", logged)
				}
				g.wantTableUntouched(tables.Output())
				g.wantSubset(elements, g.elements())
			}
			g.wantVia(g.Client, netlab.ViaVPN, addrs...)
		})
	}
}

// awaitListening waits until each program has a netlink socket that is in a group.
func (g *gate) awaitListening(all ...*netlab.Process) {
	g.t.Helper()
	listening := func(p *netlab.Process) bool {
		for line := range strings.Lines(g.Box.Run("cat", "/proc/net/netlink")) {
			// sk, protocol, port (its process), groups, ...
			if f := strings.Fields(line); len(f) > 3 && f[2] == strconv.Itoa(p.Pid) && strings.Trim(f[3], "0") != "" {
				return true
			}
		}
		return false
	}
	for _, p := range all {
		netlab.Eventually(g.t, 5*time.Second, func() error {
			return netlab.Check(listening(p), "a monitor does not listen:\n%s", g.Box.Run("cat", "/proc/net/netlink"))
		})
	}
}

// learnedEvent is an event of an address in a route's set.
var learnedEvent = regexp.MustCompile(`^(add|delete) element inet nameroute (vpn[46] \{ \S+)`)

// wantTableUntouched looks through what `nft monitor` saw. That an owner takes its
// table over, what it tries in a table of another name, and addresses of the names that
// the test waits for are no changes of it: one that is there gets more time by being deleted and
// added in one transaction, on kernels that know no other way.
func (g *gate) wantTableUntouched(events string) {
	g.t.Helper()
	deleted := map[string]string{}
	for line := range strings.Lines(events) {
		ours := strings.Contains(line, " inet nameroute ") || strings.HasSuffix(strings.TrimSpace(line), " inet nameroute")
		switch m := learnedEvent.FindStringSubmatch(line); {
		case m != nil && m[1] == "add":
			delete(deleted, m[2])
		case m != nil:
			deleted[m[2]] = line
		case ours && !strings.HasPrefix(line, "add table"):
			g.t.Errorf("event of the table: %s", line)
		}
	}
	for _, line := range deleted {
		g.t.Errorf("event of the table: %s", line)
	}
}
