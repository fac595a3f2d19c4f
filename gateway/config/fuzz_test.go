package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// FuzzParse: whatever the bytes are, Parse returns either problems with their positions,
// each on one line and in order, or a configuration with the invariants that other
// packages rely on, which is the same after it is printed and parsed again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everyKey))
	f.Add([]byte("lan: [l]\nwan: {egress: {w0: 3, w1: 1}, policy: balance}\nclients: {t: {mac: [\"00:00:5e:00:53:01\"], route: wan}, p: {cgroup: [a.slice/b.service], route: g}}\n" +
		"routes:\n  a: {interface: t0, clients: [p], match: {proto: [tcp, udp], ports: [80, 443-445]}}\n  b: {next_hop: [192.0.2.1, \"2001:db8::1\"]}\n  g: {egress: [a, b], probe: [ping 192.0.2.9, \"http http://a.example/ 204\"], move: keep}\n"))
	for _, c := range problemCases {
		f.Add([]byte(c.yaml))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const file = "/etc/nameroute/gateway.yaml"
		c, err := Parse(file, data)
		if err != nil {
			checkProblems(t, err)
			return
		}
		checkConfig(t, c)
		again, err := Parse(file, []byte(YAML(c)))
		if err != nil {
			t.Fatalf("what was printed is refused: %v\n%s", err, YAML(c))
		}
		c.Notes, again.Notes = nil, nil // they tell lines
		if diff := cmp.Diff(c, again, equal); diff != "" {
			t.Fatalf("what was printed reads differently (-first +second)\n%s", diff)
		}
	})
}

func checkProblems(t *testing.T, err error) {
	var all problem.Problems
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("an error without problems: %v", err)
	}
	for i, p := range all {
		if p.Line < 1 || p.Why == "" || strings.Contains(p.Error(), "\n") {
			t.Fatalf("a problem without place, reason or on two lines: %+v", p)
		}
		if i > 0 && all[i-1].Line > p.Line {
			t.Fatalf("out of order: %v before %v", all[i-1], p)
		}
	}
}

func checkConfig(t *testing.T, c *gateway.Config) {
	wan := c.WANRoute()
	numbers, tables, priorities := []int{wan.Number}, []int{wan.Table}, []int{c.Priority, wan.Priority}
	for _, r := range c.Routes {
		if why, _ := badName(r.Name); why != "" || gateway.Reserved(r.Name) {
			t.Fatalf("route %q: %s", r.Name, why)
		}
		if r.Number < 1 || r.Mark != c.Mask.Mark(r.Number) || slices.Contains(numbers, r.Number) {
			t.Fatalf("route %s has number %d and mark %v among %v", r.Name, r.Number, r.Mark, numbers)
		}
		if slices.Contains(tables, r.Table) || slices.Contains(priorities, r.Priority) || r.Priority < c.Priority {
			t.Fatalf("route %s shares table %d or priority %d", r.Name, r.Table, r.Priority)
		}
		e := r.Egress
		ok := e.Link != ""
		switch e.Kind {
		case gateway.EgressNextHop:
			ok = len(e.NextHops) > 0
		case gateway.EgressGroup:
			ok = r.Group != nil && len(c.Members(r)) == len(r.Group.Members) && e.Link == ""
		}
		if !ok {
			t.Fatalf("route %s leaves by %+v", r.Name, e)
		}
		if why, _ := badLink(e.Link); e.Link != "" && (why != "" || slices.Contains(c.LAN, e.Link)) {
			t.Fatalf("route %s leaves by %q", r.Name, e.Link)
		}
		numbers, tables, priorities = append(numbers, r.Number), append(tables, r.Table), append(priorities, r.Priority)
	}
	if l := c.Lifetime; l.Floor <= 0 || l.Grace <= 0 || l.Floor > l.Ceiling || l.Grace >= l.Ceiling {
		t.Fatalf("lifetime %+v", l)
	}
}
