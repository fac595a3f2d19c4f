package netlab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestWorldAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(netip.Addr) Egress { return ViaWAN })
	w.Add("www.cdn.example. 60 IN CNAME edge.cdn.example.", "edge.cdn.example. 20 IN A 30.7.7.7",
		"loop.example. IN CNAME loop.example.",
		`svc.example. 60 IN HTTPS 1 . alpn="h3,h2" ipv4hint=30.7.7.8 ipv6hint=2a0f:7::8`)
	w.Behave("fail.example", Behavior{Rcode: dns.RcodeServerFailure})
	w.Behave("nx.example", Behavior{Rcode: dns.RcodeNameError})
	w.Behave("many.example", Behavior{Addresses: 120})
	w.Behave("tc.example", Behavior{Truncated: true})
	w.TTL("short.example", 0)
	own := func(name string) Pair { return w.Addresses(name) }
	tests := []struct {
		name, proto string
		qtype       uint16
		want        string // rcode, TC, number of answers, last answer, authority
	}{
		{"Any.Example.", "udp", dns.TypeA, fmt.Sprintf("NOERROR 1 [Any.Example. 300 IN A %s]", own("any.example").V4)},
		{"any.example.", "tls", dns.TypeAAAA, fmt.Sprintf("NOERROR 1 [any.example. 300 IN AAAA %s]", own("any.example").V6)},
		{"any.example.", "udp", dns.TypeHTTPS, "NOERROR 0 [] any.example. SOA"},
		{"www.cdn.example.", "udp", dns.TypeA, "NOERROR 2 [edge.cdn.example. 20 IN A 30.7.7.7]"},
		{"www.cdn.example.", "udp", dns.TypeAAAA, "NOERROR 1 [www.cdn.example. 60 IN CNAME edge.cdn.example.]"},
		{"loop.example.", "udp", dns.TypeA, "NOERROR 16 [loop.example. 3600 IN CNAME loop.example.]"},
		{"svc.example.", "udp", dns.TypeHTTPS, `NOERROR 1 [svc.example. 60 IN HTTPS 1 . alpn="h3,h2" ipv4hint="30.7.7.8" ipv6hint="2a0f:7::8"]`},
		{"svc.example.", "udp", dns.TypeA, fmt.Sprintf("NOERROR 1 [svc.example. 300 IN A %s]", own("svc.example").V4)},
		{"a.b.fail.example.", "tcp", dns.TypeA, "SERVFAIL 0 []"},
		{"nx.example.", "udp", dns.TypeA, "NXDOMAIN 0 [] nx.example. SOA"},
		{"tc.example.", "udp", dns.TypeA, "NOERROR TC 0 []"},
		{"short.example.", "udp", dns.TypeA, fmt.Sprintf("NOERROR 1 [short.example. 0 IN A %s]", own("short.example").V4)},
	}
	for _, tt := range tests {
		m := new(dns.Msg).SetQuestion(tt.name, tt.qtype)
		if got := brief(w.reply(m, w.behavior(tt.name), tt.proto)); got != tt.want {
			t.Errorf("%s %s over %s:\n got %s\nwant %s", tt.name, dns.TypeToString[tt.qtype], tt.proto, got, tt.want)
		}
	}
	m := new(dns.Msg).SetQuestion("many.example.", dns.TypeA)
	if r := w.reply(m, w.behavior("many.example"), "udp"); !r.Truncated || r.Len() > 512 {
		t.Errorf("120 addresses over UDP: TC %v, %d bytes", r.Truncated, r.Len())
	}
	if r := w.reply(m, w.behavior("many.example"), "tcp"); r.Truncated || len(r.Answer) != 120 {
		t.Errorf("120 addresses over TCP: TC %v, %d records", r.Truncated, len(r.Answer))
	}
	if got := w.Owner(own("any.example").V6); got != "any.example" {
		t.Errorf("owner %q", got)
	}
}

func brief(r *dns.Msg) string {
	text := dns.RcodeToString[r.Rcode]
	if r.Truncated {
		text += " TC"
	}
	last := ""
	if n := len(r.Answer); n > 0 {
		last = strings.Join(strings.Fields(r.Answer[n-1].String()), " ")
	}
	text += fmt.Sprintf(" %d [%s]", len(r.Answer), last)
	for _, rr := range r.Ns {
		text += " " + rr.Header().Name + " " + dns.TypeToString[rr.Header().Rrtype]
	}
	return text
}

func TestWorldHostsAreUnique(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	plan := NewPlan()
	for i := range 20000 {
		p := w.Addresses(fmt.Sprintf("n%d.example", i))
		if !plan.Internet[0].Contains(p.V4) || !plan.Internet[1].Contains(p.V6) {
			t.Fatalf("%v is not in the internet", p)
		}
	}
	if len(w.owner) != 40000 {
		t.Errorf("%d addresses for 20000 names of two each", len(w.owner))
	}
}

// TestResolvers asks every resolver of the lab, from the box via the WAN.
func TestResolvers(t *testing.T) {
	t.Parallel()
	Need(t, "dig")
	l := New(t, Options{})
	l.World.Behave("many.example", Behavior{Addresses: 120})
	l.World.Behave("silent.example", Behavior{Silent: true})
	l.World.Behave("slow.example", Behavior{Delay: time.Second})
	for _, at := range []Pair{l.Plan.World, l.World2, l.Plan.Unbound, l.Plan.ISP} {
		for _, addr := range at.All() {
			for _, proto := range []string{"udp", "tcp"} {
				name := fmt.Sprintf("n%d.%s.example", addr.As16()[15], proto)
				m := new(dns.Msg).SetQuestion(name+".", dns.TypeAAAA)
				r, err := l.Box.QueryAt(netip.AddrPortFrom(addr, 53), m, proto)
				if err != nil || len(r.Answer) != 1 || r.Answer[0].(*dns.AAAA).AAAA.String() != l.World.Addresses(name).V6.String() {
					t.Errorf("%s over %s: %v (%v)", addr, proto, r, err)
				}
			}
		}
	}
	for _, tt := range []struct{ at, name string }{
		{l.Plan.World.V4.String(), WorldServerName}, {l.Plan.World.V6.String(), WorldServerName},
		{l.Plan.Unbound.V4.String(), UnboundServerName}, {l.Plan.Unbound.V6.String(), UnboundServerName},
	} {
		out, err := l.Box.Dig("@"+tt.at, "+short", "+tls", "+tls-ca="+l.CAFile(), "+tls-hostname="+tt.name, "many.example", "A")
		if err != nil || strings.Count(out, "\n") != 120 {
			t.Errorf("DoT at %s: %v, %q", tt.at, err, out)
		}
	}
	checkQueryLogs(t, l)

	at := netip.AddrPortFrom(l.Plan.World.V4, 53)
	askFor := func(name string, limit time.Duration) error {
		_, err := l.Box.exchange("udp", at, new(dns.Msg).SetQuestion(name, dns.TypeA), limit)
		return err
	}
	ask := func(name string) error { return askFor(name, 100*time.Millisecond) }
	if ask("www.silent.example.") == nil || ask("slow.example.") == nil {
		t.Error("a silent or slow name was answered at once")
	}
	l.Server(l.Plan.World.V6).Silence(true)
	if ask("other.example.") == nil {
		t.Error("a silenced server answers")
	}
	l.Server(l.Plan.World.V6).Silence(false)
	if err := askFor("other.example.", dialLimit); err != nil {
		t.Errorf("after the silence: %v", err)
	}
	if n := len(l.World.Queries("other.example", "silent.example")); n != 3 {
		t.Errorf("%d queries logged, want 3", n)
	}
}

func checkQueryLogs(t *testing.T, l *Lab) {
	t.Helper()
	egresses := map[string]int{}
	for _, q := range l.World.Queries() {
		egresses[fmt.Sprintf("%s %s", q.Proto, q.Egress)]++
	}
	if egresses["udp wan"] < 4 || egresses["tcp wan"] < 4 || egresses["tls wan"] < 2 {
		t.Errorf("the world's log: %v", egresses)
	}
	for name, r := range map[string]*Resolver{"unbound": l.Unbound, "dnsmasq": l.Dnsmasq} {
		log := r.Queries("udp.example", "tcp.example")
		if len(log) != 4 {
			t.Errorf("%s logged %d queries, want 4: %v\n%s", name, len(log), log, r.Output())
		}
		for i, q := range log {
			if q.Egress != ViaWAN || q.Type != dns.TypeAAAA || !slices.Contains(r.All(), q.Server) || !l.BoxWAN.Has(q.From.Addr()) {
				t.Errorf("%s: query %d: %v", name, i, q)
			}
		}
		r.Reset()
		if log := r.Queries(); len(log) != 0 {
			t.Errorf("%s: after Reset: %v", name, log)
		}
	}
}

func TestKnot(t *testing.T) {
	t.Parallel()
	Need(t, "knotd")
	l := New(t, Options{GoResolvers: true})
	l.StartKnot("owned.example", `
$ORIGIN owned.example.
@    60 SOA ns admin 1 3600 600 86400 60
@    60 NS  ns
ns   60 A   30.5.5.5
www  60 A   30.6.6.6
`)
	m := new(dns.Msg).SetQuestion("www.owned.example.", dns.TypeA)
	for _, at := range l.Plan.Knot.All() {
		for _, proto := range []string{"udp", "tcp"} {
			r, err := l.Box.QueryAt(netip.AddrPortFrom(at, 53), m, proto)
			if err != nil || !r.Authoritative || len(r.Answer) != 1 {
				t.Errorf("knot at %s over %s: %v (%v)", at, proto, r, err)
			}
		}
	}
}
