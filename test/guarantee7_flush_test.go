package test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// manyLearned is how many names are learned before the ruleset is flushed.
const manyLearned = 100

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// A table that is ours alone survives whatever others do to the ruleset. Where
// such a table would die with us it has an ordinary replica, which other programs can take away:
// it is put back, and no packet feels it.
func TestOwnedTableSurvivesAFlush(t *testing.T) {
	t.Parallel()
	g := newGate(t, netlab.Setup{})
	addrs := g.learnMany()
	flows := g.flows(g.Client, netlab.ViaVPN, addrs[:2]...)
	before := g.elements()
	replica := strings.Contains(g.Box.Run("nft", "list", "tables"), "nameroute_replica")
	own := "nameroute"
	if replica {
		own = "nameroute_replica"
	}
	g.Reset()
	flood := g.flood(netlab.ViaVPN, addrs[2:4]...)
	listed := g.ask("listed.example")
	for range 10 {
		g.Box.Run("nft", "flush", "ruleset")
		if out, err := g.Box.Exec("nft", "delete", "table", "inet", own); err == nil {
			t.Errorf("another program could delete the table: %s", out)
		}
		if out, err := g.Box.Exec("nft", "flush", "set", "inet", own, "vpn4"); err == nil {
			t.Errorf("another program could flush a set: %s", out)
		}
		time.Sleep(30 * time.Millisecond)
	}
	if replica {
		_ = netlab.Poll(30*time.Second, func() error { return netlab.Check(subset(before, g.elements()), "not yet") })
	}
	g.wantSubset(before, g.elements())
	flows.wantProgress()
	t.Logf("%d new flows meanwhile", flood.stop(g))
	listed.wantAllAnswered(g)
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v", tcp, udp)
	g.wantNoneClear(addrs...)
	if reported := strings.Contains(g.p.Output(), "another program changed"); reported != replica {
		t.Errorf("a change was reported: %v, want %v", reported, replica)
	}
}

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// An ordinary table that other programs take away is put back, elements too. After what time,
// BenchmarkPutBack of gateway/learned measures.
func TestPlainTableIsPutBack(t *testing.T) {
	t.Parallel()
	limit := 5 * time.Second * netlab.Slack()
	g := newGate(t, netlab.Setup{Gateway: "owner: off"})
	addrs := g.learnMany()
	flows := g.flows(g.Client, netlab.ViaVPN, addrs[:2]...)
	g.wantSettledTable()
	table, before := g.rules(), g.elements()
	flood := g.flood("", addrs[2:4]...) // whichever way it goes: the packets are counted
	listed := g.ask("listed.example")
	gap := gaps{g, map[[2]netip.AddrPort]bool{}}
	for _, remove := range []string{
		"flush ruleset", "delete table inet nameroute", "flush table inet nameroute",
		"flush chain inet nameroute kill_switch", "flush chain inet nameroute classify",
	} {
		for range 3 {
			g.Reset()
			began := time.Now()
			g.Box.Run("nft", remove)
			removed := time.Now()
			for g.rules() != table || !subset(before, g.elements()) {
				if time.Since(removed) > 30*time.Second*netlab.Slack() {
					t.Fatalf("nft %s: not put back in time:\n%s", remove, g.rules())
				}
			}
			clear, last := gap.clearWithin(began, removed.Add(limit), addrs...)
			g.t.Logf("nft %s: seen complete again after %v; %d packets in the clear, the last %v after nft began",
				remove, time.Since(removed).Round(time.Millisecond), clear, last)
		}
	}
	flows.wantProgress()
	flood.end()
	listed.wantAllAnswered(g)
	tcp, udp := flows.worst()
	t.Logf("longest gap over TCP %v, over UDP %v", tcp, udp)
	g.Reset()
	complete := time.Now()
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	g.wantVia(g.Box.Host, netlab.ViaVPN, addrs[:4]...)
	gap.clearWithin(complete, complete, addrs...)
	if !strings.Contains(g.p.Output(), "another program changed") {
		t.Error("the log does not say that another program changed what is ours")
	}
}

// learnMany resolves names and returns their addresses, of both families in turn.
func (g *gate) learnMany() []netip.Addr {
	g.t.Helper()
	var addrs []netip.Addr
	for i := range manyLearned {
		addrs = append(addrs, g.resolve(fmt.Sprintf("many%d.listed.example", i))...)
	}
	return addrs
}

// elements are the learned addresses in the kernel.
func (g *gate) elements() []string {
	g.t.Helper()
	var found []string
	for _, set := range []string{"vpn4", "vpn6"} {
		out, err := g.Box.Exec("nft", "list", "set", "inet", "nameroute", set)
		if err != nil {
			return nil // it was taken away just now
		}
		_, list, _ := strings.Cut(out, "elements = {")
		for _, element := range strings.Split(strings.TrimRight(list, "}\n\t "), ",") {
			if words := strings.Fields(element); len(words) > 0 {
				found = append(found, words[0])
			}
		}
	}
	return found
}

func (g *gate) wantSubset(some, all []string) {
	g.t.Helper()
	for _, e := range some {
		if !slices.Contains(all, e) {
			g.t.Errorf("element %s is not in the sets any more", e)
		}
	}
}

func subset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(e string) bool { return !slices.Contains(all, e) })
}

// rules are the chains of our table as nft lists them, without counts.
func (g *gate) rules() string {
	out, err := g.Box.Exec("nft", "--stateless", "--terse", "list", "table", "inet", "nameroute")
	if err != nil {
		return err.Error()
	}
	return out
}

// wantSettledTable waits until the table is as nameroute wants it for good.
func (g *gate) wantSettledTable() {
	g.t.Helper()
	old, same := g.rules(), 0
	netlab.Eventually(g.t, 3*time.Second, func() error {
		time.Sleep(150 * time.Millisecond)
		before := old
		if old = g.rules(); old == before {
			same++
		} else {
			same = 0
		}
		return netlab.Check(same == 3, "the table goes on changing, from\n%s\nto\n%s", before, old)
	})
}

// gaps are the times in which the table was gone, and the flows that began in them:
// the kernel sends those on as they began, and its answer to a late segment of one (a
// SYN-ACK that is sent again after 3 s) is no leak of a table that is in place.
type gaps struct {
	*gate
	flows map[[2]netip.AddrPort]bool
}

// clearWithin counts what left in the clear since the last Reset; all of it must have
// done so between two moments, or be of a flow that began in the clear in a gap.
func (g *gaps) clearWithin(from, to time.Time, addrs ...netip.Addr) (count int, last time.Duration) {
	g.t.Helper()
	g.Settle()
	bad := false
	for _, p := range g.ISP.Clear(wire.To(addrs...)) {
		flow := [2]netip.AddrPort{p.Src, p.Dst}
		late := p.When.Before(from) || p.When.After(to)
		switch {
		case late && g.flows[flow]:
			continue
		case late && !bad:
			g.t.Errorf("left in the clear %v after the removal began, want at most %v: %s", p.When.Sub(from), to.Sub(from), p)
			bad = true
		case !late:
			g.flows[flow] = true
			last = max(last, p.When.Sub(from))
		}
		count++
	}
	return count, last.Round(time.Millisecond)
}
