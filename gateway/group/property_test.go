package group

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// check lets bytes be what happens to a group, and tells whether its promises hold at every
// moment: what is in force can be used, something is if anything can be, nothing bad while a
// good one can be used, and no more changes for another reason than a hold allows.
func check(t *testing.T, script []byte) {
	t.Helper()
	if len(script) < 3 {
		return
	}
	names := []string{"a", "b", "c", "d"}[:1+script[0]%4]
	g := groupOf([]gateway.GroupPolicy{gateway.Failover, gateway.Balance, gateway.Fastest}[script[1]%3], names...)
	if script[2]%5 == 0 {
		g.Probes = nil
	}
	m, now, unusable := New(g), began, map[string]bool{}
	if script[2]%7 == 0 {
		m.Adopt(names[len(names)/2:])
	}
	var before, voluntary []string
	var switches []time.Time
	for _, b := range script[3:] {
		name := names[int(b>>2)%len(names)]
		switch b & 3 {
		case 0:
			unusable[name] = !unusable[name]
		case 1:
			m.Observe(now, Result{Member: name, Reason: "no answer"})
		case 2:
			m.Observe(now, Result{Member: name, OK: true, Time: time.Duration(b) * time.Millisecond})
		case 3:
			now = now.Add(time.Duration(b) * 10 * time.Millisecond)
		}
		usable := func(name string) string {
			if unusable[name] {
				return "its link is gone"
			}
			return ""
		}
		c := m.Choose(now, usable)
		var active []string
		for _, a := range c.Active {
			active = append(active, a.Member)
		}
		promises(t, m, g, active, c, unusable)
		if again := m.Choose(now, usable); len(again.Events) > 0 || !slices.Equal(again.Active, c.Active) {
			t.Fatalf("%q, chosen again at once: %v: %+v", active, again.Active, again.Events)
		}
		stayed := len(before) == 1 && !unusable[before[0]] && m.find(before[0]).state != Bad
		if g.Policy != gateway.Balance && stayed && !slices.Equal(before, active) {
			switches, voluntary = append(switches, now), append(voluntary, active[0])
			if x := m.find(active[0]); now.Sub(x.ready) < g.Hold {
				t.Fatalf("%s replaces a good %s after only %v", active[0], before[0], now.Sub(x.ready))
			}
		}
		before = active
	}
	most := max(len(names)-1, 1)
	for i := most; i < len(switches); i++ {
		if d := switches[i].Sub(switches[i-most]); d < g.Hold {
			t.Fatalf("%d changes for a better one within %v: %q", most+1, d, voluntary)
		}
	}
}

// promises are those that hold at every moment.
func promises(t *testing.T, m *Machine, g *gateway.Group, active []string, c Choice, unusable map[string]bool) {
	t.Helper()
	good, works, usable, bad := false, false, 0, false
	for _, x := range m.members {
		in := slices.Contains(active, x.Route)
		if unusable[x.Route] {
			if in {
				t.Fatalf("%s is in force and cannot be used", x.Route)
			}
			continue
		}
		usable++
		good = good || x.state == Good && x.fails == 0
		works = works || x.state != Bad
		bad = bad || in && x.state == Bad
	}
	switch {
	case usable > 0 && len(active) == 0:
		t.Fatalf("nothing is in force, though %d could be", usable)
	case usable == 0 && c.Reason == "":
		t.Fatal("nothing is in force, for no reason")
	case g.Policy != gateway.Balance && len(active) > 1:
		t.Fatalf("in force: %q", active)
	case good && bad:
		t.Fatalf("a bad one of %q is in force, and a good one is not alone", active)
	case c.Failing != (usable > 0 && !works):
		t.Fatalf("failing is %v with %d usable, any works: %v", c.Failing, usable, works)
	}
}

func TestPromises(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		script := make([]byte, 3+r.IntN(300))
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		// Most rounds are good, and most links stay.
		for i := 3; i < len(script); i++ {
			if script[i]&3 == 0 && r.IntN(4) > 0 {
				script[i] |= 2
			}
		}
		check(t, script)
	}
}

func FuzzChoose(f *testing.F) {
	f.Add([]byte{2, 0, 1, 1, 5, 9, 3, 0, 2, 6, 255, 255})
	f.Add([]byte{3, 2, 1, 254, 6, 10, 255, 255, 255, 255, 2, 6, 10})
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) < 2000 {
			check(t, script)
		}
	})
}
