package group

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func groupOf(policy gateway.GroupPolicy, names ...string) *gateway.Group {
	g := &gateway.Group{
		Policy: policy, Hold: 10 * time.Second,
		Probing: gateway.Probing{Probes: []gateway.Probe{{Kind: gateway.ProbeHandshake}}, Every: time.Second, Fails: 3, Good: 2},
	}
	for _, n := range names {
		g.Members = append(g.Members, gateway.Member{Route: n, Weight: 1})
	}
	return g
}

// play has a machine go through a script, one moment a line:
//
//	3s a- b+20ms c! : b
//
// says that at 3 s the probes of a failed, those of b succeeded in 20 ms, and c can no longer
// be used (c? again), and wants b in force then. What it wants may have `failing` besides.
func play(t *testing.T, m *Machine, script string) (events []string) {
	t.Helper()
	unusable := map[string]bool{}
	for line := range strings.Lines(script) {
		moment, want, ok := strings.Cut(strings.TrimSpace(line), ":")
		words := strings.Fields(moment)
		if !ok || len(words) == 0 {
			continue
		}
		at, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		now := began.Add(at)
		for _, w := range words[1:] {
			i := strings.IndexAny(w, "+-!?*")
			name, rest := w[:i], w[i+1:]
			switch w[i] {
			case '!', '?':
				unusable[name] = w[i] == '!'
			case '*':
				m.Observe(now, Result{Member: name, Unknown: true, Reason: "nobody could look"})
			case '-':
				m.Observe(now, Result{Member: name, Reason: "no answer"})
			case '+':
				d, _ := time.ParseDuration(rest)
				m.Observe(now, Result{Member: name, OK: true, Time: d})
			}
		}
		c := m.Choose(now, func(name string) string {
			if unusable[name] {
				return "its link is gone"
			}
			return ""
		})
		var got []string
		for _, a := range c.Active {
			got = append(got, a.Member)
		}
		if c.Failing {
			got = append(got, "failing")
		}
		if have, want := strings.Join(got, " "), strings.Join(strings.Fields(want), " "); have != want {
			t.Errorf("%s: in force: %q, want %q", strings.TrimSpace(moment), have, want)
		}
		if (len(c.Active) == 0 || c.Failing) != (c.Reason != "") {
			t.Errorf("%s: %d in force, failing %v, because %q", moment, len(c.Active), c.Failing, c.Reason)
		}
		for _, e := range c.Events {
			if e.Reason == "" && e.To != string(Good) {
				t.Errorf("%s: an event without a reason: %+v", moment, e)
			}
			events = append(events, fmt.Sprintf("%s %s>%s %s", e.Member, e.From, e.To, e.Reason))
		}
	}
	return events
}

func TestFailover(t *testing.T) {
	failover, without, at := groupOf(gateway.Failover, "a", "b", "c"), groupOf(gateway.Failover, "a", "b"), groupOf(gateway.Failover, "a", "b")
	without.Probes, at.Hold = nil, 0
	for _, tt := range []struct {
		name   string
		group  *gateway.Group
		script string
	}{
		{"the preferred one is in force before any probe", failover, `
			0s : a
			1s b+ c+ : a
			2s a+ : a`},
		{"the next one where the preferred one cannot be used", failover, `
			0s a! : b
			1s a? : b`},
		{"fails rounds in a row", failover, `
			0s a+ b+ : a
			1s a- b+ : a
			2s a- b+ : a
			3s a+ b+ : a
			4s a- b+ : a
			5s a- b+ : a
			6s a- b+ : b`},
		{"one that was never good is bad after as many", failover, `
			0s : a
			1s a- b+ : a
			2s a- : a
			3s a- : b`},
		{"good rounds in a row, and hold", failover, `
			0s a+ b+ : a
			1s a- b+ : a
			2s a- b+ : a
			3s a- b+ : b
			4s a+ b+ : b
			5s a+ b+ : b
			14s a+ b+ : b
			15s a+ b+ : a`},
		{"hold begins again after a relapse", failover, `
			0s a+ b+ : a
			1s a- b+ : a
			2s a- b+ : a
			3s a- b+ : b
			4s a+ b+ : b
			5s a+ b+ : b
			6s a- b+ : b
			7s a- b+ : b
			8s a- b+ : b
			9s a+ b+ : b
			10s a+ b+ : b
			19s b+ : b
			20s b+ : a`},
		{"no hold where the one in force is bad", failover, `
			0s a+ b+ : a
			1s a- b+ : a
			2s a- b+ : a
			3s a- b+ : b
			4s a+ b- : b
			5s a+ b- : b
			6s a+ b- : a`},
		{"nor where it cannot be used", failover, `
			0s a+ b+ c+ : a
			1s a! : b
			2s a? : b
			3s b! : a`},
		{"hold of nothing", at, `
			0s a+ b+ : a
			1s a! : b
			2s a? : a`},
		{"a good one before one that nobody has looked at", failover, `
			0s a+ c+ : a
			1s a! : c`},
		{"what nobody could look at stays", failover, `
			0s a* : a
			1s a* b+ : a`},
		{"all fail at the same time: what they probe is gone", failover, `
			0s a+ b+ c+ : a
			1s a- b- c- : a
			2s a- b- c- : a
			3s a- : a
			3.1s b- c- : a failing
			9s a- b- c- : a failing
			10s a+ b+ c+ : a failing
			11s a+ b+ c+ : a
			40s a+ b+ c+ : a`},
		{"all bad: the first that recovers", failover, `
			0s a+ b+ c+ : a
			1s a- b- c- : a
			2s a- b- c- : a
			3s a- b- c- : a failing
			4s c+ : a failing
			5s c+ : c
			6s b+ : c
			7s b+ : c
			17s b+ : b`},
		{"all bad, and the one in force is gone", failover, `
			0s a- b- c- : a
			1s a- b- c- : a
			2s a- b- c- : a failing
			3s a! : b failing
			4s b! c! :
			5s c? : c failing`},
		{"nothing can be used", failover, `
			0s a! b! c! :
			1s b? : b
			2s a? : b
			2.5s b! : a`},
		{"one whose last round failed is better than none", failover, `
			0s a+ b+ c+ : a
			1s b- c- : a
			2s a! : b`},
		{"without probes links decide", without, `
			0s : a
			1s a! : b
			2s a? : b
			11s : b
			12s : a`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, New(tt.group), tt.script) })
	}
}

func TestBalance(t *testing.T) {
	balance, without := groupOf(gateway.Balance, "a", "b", "c"), groupOf(gateway.Balance, "a", "b")
	without.Probes = nil
	for _, tt := range []struct {
		name   string
		group  *gateway.Group
		script string
	}{
		{"all that work", balance, `
			0s : a b c
			1s a+ b+ c+ : a b c
			2s a+ b- c+ : a b c
			3s a+ b- c+ : a b c
			4s a+ b- c+ : a c
			5s b+ : a c
			6s b+ : a b c
			7s a! : b c
			8s a? : a b c`},
		{"all fail at the same time", balance, `
			0s a+ b+ c+ : a b c
			1s a- b- c- : a b c
			2s a- b- c- : a b c
			3s a- : a b c
			3.1s b- c- : a b c failing
			4s a! : b c failing
			5s a? a+ b+ c+ : b c failing
			6s c+ : c
			7s a+ b+ : a b c`},
		{"a new one waits for its first round", balance, `
			0s c! : a b
			1s a+ b+ : a b
			2s c? : a b
			3s c+ : a b c`},
		{"without probes", without, `
			0s : a b
			1s a! : b
			2s a? : a b`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, New(tt.group), tt.script) })
	}
}

func TestFastest(t *testing.T) {
	fastest := groupOf(gateway.Fastest, "a", "b", "c")
	for _, tt := range []struct {
		name   string
		group  *gateway.Group
		script string
	}{
		{"clearly, and for hold", fastest, `
			0s : a
			0s a+50ms b+20ms c+30ms : a
			9s a+50ms b+20ms c+30ms : a
			10s a+50ms b+20ms c+30ms : b
			11s a+50ms b+20ms c+17ms : b
			30s a+50ms b+20ms c+17ms : b`},
		{"not by a little", fastest, `
			0s : a
			0s a+50ms b+41ms : a
			30s a+50ms b+41ms : a
			60s a+50ms b+41ms : a`},
		{"not by less than a load makes of it", fastest, `
			0s : a
			0s a+2ms b+1ms : a
			30s a+2ms b+1ms : a`},
		{"hold begins again", fastest, `
			0s : a
			0s a+50ms b+20ms : a
			9s a+50ms b+500ms : a
			10s a+50ms b+1ms : a
			11s b+1ms b+1ms b+1ms b+1ms b+1ms b+1ms b+1ms b+1ms b+1ms b+1ms : a
			20s : a
			21s : b`},
		{"the fastest good one in place of a bad one", fastest, `
			0s a+10ms b+90ms c+80ms : a
			1s a- : a
			2s a- : a
			3s a- : c`},
		{"one that was not measured is no faster", fastest, `
			0s a+50ms b+ : a
			30s a+50ms b+ : a
			40s a! : b`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, New(tt.group), tt.script) })
	}
}

func TestAdopt(t *testing.T) {
	m := New(groupOf(gateway.Failover, "a", "b"))
	m.Adopt([]string{"gone", "b"})
	play(t, m, `
		0s : b
		1s a+ b+ : b
		2s b- : b
		3s b- : b
		4s b- : a`)
	m = New(groupOf(gateway.Failover, "a", "b"))
	m.Adopt([]string{"b"})
	play(t, m, `
		0s a+ b+ : b
		9s a+ b+ : b
		10s a+ b+ : a`)
}

func TestEvents(t *testing.T) {
	got := play(t, New(groupOf(gateway.Failover, "a", "b")), `
		0s a+ b+ : a
		1s a- : a
		2s a- : a
		3s a- : b
		4s a+ : b
		5s a+ : b
		15s : a
		16s a! : b
		17s b! :
		18s b? : b`)
	want := []string{
		"a unknown>good ", "b unknown>good ", " >a a can be used",
		"a good>bad no answer", " a>b a: no answer",
		"a bad>good ", " b>a a is preferred, and has been good for 10s",
		" a>b a: its link is gone", " b> a: its link is gone; b: its link is gone", " >b a: its link is gone",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What is known of members that stay is kept over a change of the configuration.
func TestSetGroup(t *testing.T) {
	m := New(groupOf(gateway.Failover, "a", "b"))
	play(t, m, `
		0s : a
		0s a- b+ : a
		1s a- b+ : a
		2s a- b+ : b`)
	m.SetGroup(groupOf(gateway.Failover, "c", "a", "b"))
	play(t, m, `
		3s : b
		4s c+ : b
		14s : c`)
	m.SetGroup(groupOf(gateway.Failover, "a", "b"))
	events := play(t, m, `15s : b`)
	if len(events) != 1 || !strings.Contains(events[0], "c: no longer a member") {
		t.Errorf("events: %q", events)
	}
	m.SetGroup(groupOf(gateway.Balance, "a", "b"))
	play(t, m, `16s : b`)
	without := groupOf(gateway.Balance, "a", "b")
	without.Probes = nil
	m.SetGroup(without)
	play(t, m, `17s : a b`)
	m.SetGroup(groupOf(gateway.Failover, "a", "b"))
	if events := play(t, m, `18s : a`); len(events) != 1 || !strings.Contains(events[0], "the policy is failover") {
		t.Errorf("events: %q", events)
	}
}

func TestMembers(t *testing.T) {
	m := New(groupOf(gateway.Failover, "a", "b"))
	play(t, m, `
		0s a+20ms : a
		1s a- : a
		2s b! : a`)
	got := m.Members()
	want := []MemberStatus{
		{Name: "a", Weight: 1, State: Good, InForce: true, Reason: "no answer", Since: began, Probed: began.Add(time.Second), Time: 20 * time.Millisecond},
		{Name: "b", Weight: 1, State: Unknown, Reason: "its link is gone", Since: began},
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got  %+v\nwant %+v", got[i], want[i])
		}
	}
}
