package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// page is what `status --json` prints, by the names that scripts rely on.
type page struct {
	State     string
	Because   []string
	Processes []struct {
		Parts   []string
		Refused *struct {
			Error string
			Since time.Time
		}
	}
	Problems []string
	Routes   []struct {
		Name, State, Reason string
		Up                  bool
		V4, V6              bool
		Since               time.Time
		RX, TX              *int64
		Tunnel              *struct {
			Kind      string
			Handshake time.Time
		}
		Blocked *struct{ Packets int }
		Members []struct {
			Name, State string
		}
	}
	Classes []struct {
		Name                              string
		Clients, Routes, Lists, Listeners []string
		Elements                          int
	}
	WAN struct {
		Defaults  []string
		Resolvers []string
	}
	Lists []struct {
		Name    string
		Entries int
	}
	Sets []struct {
		Set       string
		Elements  int
		Capacity  int
		PerMinute int `json:"learned_per_minute"`
	}
	Upstreams []struct {
		Route   string
		Healthy bool
		Latency float64 `json:"latency_seconds"`
		Queries int
		Answers int
	}
	Blocks []struct {
		View    string
		Routes  []string
		Queries *int
		Hits    *int `json:"cache_hits"`
	}
	Kernel struct{ Table string }
	Checks *struct{ Findings []finding }
}

type finding struct{ State, Level, Text string }

// status runs `nameroute status --json` on the box.
func (g *gate) status() (page, int) {
	g.t.Helper()
	p := g.Box.Launch(binary, "status", "--json")
	code := exitOf(g.t, p)
	var s page
	if err := json.Unmarshal([]byte(p.Output()), &s); err != nil {
		g.t.Fatalf("status --json: %v, exit code %d:\n%s", err, code, p.Output())
	}
	return s, code
}

// awaitStatus waits until the status is as it is wanted, and returns it: the parts see what
// happens a moment later.
func (g *gate) awaitStatus(want func(s page, code int) error) (s page) {
	g.t.Helper()
	netlab.Eventually(g.t, backWithin, func() error {
		var code int
		s, code = g.status()
		return want(s, code)
	})
	return s
}

// awaitGood waits until all is well, says the status.
func (g *gate) awaitGood() page {
	g.t.Helper()
	return g.awaitStatus(func(s page, code int) error {
		return netlab.Check(code == 0, "status: exit code %d, want 0: %+v", code, s)
	})
}

// awaitStatusSays waits until `nameroute status`, whatever its exit code, has words on its page,
// whose lines are broken anywhere.
func (g *gate) awaitStatusSays(words string) {
	g.t.Helper()
	netlab.Eventually(g.t, backWithin, func() error {
		out, err := g.Box.Exec(append([]string{binary, "status"}, g.Box.Flags()...)...)
		return netlab.Check(strings.Contains(strings.Join(strings.Fields(out), " "), words), "status does not say %q: %v\n%s", words, err, out)
	})
}

func exitOf(t testing.TB, p *netlab.Process) int {
	t.Helper()
	err := p.Wait(10 * time.Second)
	if err == nil {
		return 0
	}
	if e, ok := err.(interface{ ExitCode() int }); ok {
		return e.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// What `status` says is what happened: queries, hits, elements, bytes, and what the
// kill switch stopped; in one process, and with the parts apart.
func TestStatus(t *testing.T) {
	t.Parallel()
	t.Run("one process", func(t *testing.T) {
		t.Parallel()
		g := bareGate(t, netlab.Options{GoResolvers: true})
		g.Box.WriteFiles(netlab.Setup{})
		g.start(quickDown...)
		g.checkStatus(1)
		for _, want := range []string{"ROUTE", "vpn ", "LIST", "vpn4", "UPSTREAM", "BLOCK", "kernel: nft table "} {
			g.awaitStatusSays(want)
		}
		g.checkWatch()
	})
	t.Run("parts apart", func(t *testing.T) {
		t.Parallel()
		g := bareGate(t, netlab.Options{GoResolvers: true})
		g.Box.WriteFiles(netlab.Setup{})
		g.launchGateway()
		g.start("dns")
		g.checkStatus(2)
	})
	t.Run("nothing runs", func(t *testing.T) {
		t.Parallel()
		g := bareGate(t, netlab.Options{GoResolvers: true})
		p := g.Box.Launch(binary, "status")
		if code := exitOf(t, p); code != 1 || p.Output() != "nameroute: nameroute is not running: start it with `nameroute run`\n" {
			t.Errorf("exit code %d:\n%s", code, p.Output())
		}
	})
}

func (g *gate) checkStatus(processes int) {
	g.t.Helper()
	before, _ := g.status()
	for range 3 { // one asked for and two from the cache
		g.query("a.listed.example", dns.TypeA, "udp")
		g.query("a.other.example", dns.TypeA, "udp")
	}
	addrs := g.resolve("www.listed.example")
	g.wantVia(g.Client, netlab.ViaVPN, addrs...)
	// The tunnel is read each 100 ms: what went through it shows a moment later.
	s := g.awaitStatus(func(s page, code int) error {
		vpn := s.Routes[0]
		read := vpn.Up && vpn.Tunnel != nil && !vpn.Tunnel.Handshake.IsZero() && vpn.RX != nil && *vpn.RX > 0 && *vpn.TX > 0
		return netlab.Check(code == 0 && read, "exit code %d, vpn: %+v", code, vpn)
	})
	if len(s.Processes) != processes || len(s.Problems) != 0 {
		g.t.Errorf("%+v, %q", s.Processes, s.Problems)
	}
	if len(s.Routes) != 2 || s.Routes[0].Name != "vpn" || s.Routes[1].Name != "wan" {
		g.t.Fatalf("routes: %+v", s.Routes)
	}
	vpn, wan := s.Routes[0], s.Routes[1]
	if s.State != "good" || vpn.State != "up" || !vpn.Up || !vpn.V4 || !vpn.V6 || vpn.Since.IsZero() || vpn.Tunnel == nil || time.Since(vpn.Tunnel.Handshake) > time.Minute ||
		*vpn.RX == 0 || *vpn.TX == 0 || vpn.Blocked == nil || vpn.Blocked.Packets != 0 {
		g.t.Errorf("vpn: %+v", vpn)
	}
	if !wan.Up || wan.RX == nil || *wan.RX == 0 || len(s.WAN.Defaults) != 2 {
		g.t.Errorf("wan: %+v, %+v", wan, s.WAN)
	}
	if len(s.Lists) != 1 || s.Lists[0].Name != "mine" || s.Lists[0].Entries != 1 {
		g.t.Errorf("lists: %+v", s.Lists)
	}
	// 3 queries and www's two; www's and a's address.
	if got := grown(before.Blocks[0].Queries, s.Blocks[0].Queries); s.Blocks[0].View != "mine" || s.Blocks[0].Routes[0] != "vpn" || got != 5 {
		g.t.Errorf("blocks: %+v, %d queries, want 5", s.Blocks, got)
	}
	queries, hits := grown(before.Blocks[1].Queries, s.Blocks[1].Queries), grown(before.Blocks[1].Hits, s.Blocks[1].Hits)
	if queries != 3 || hits != 2 || s.Blocks[1].Routes[0] != "wan" {
		g.t.Errorf("blocks: %+v, %d queries and %d hits, want 3 and 2", s.Blocks, queries, hits)
	}
	if len(s.Sets) != 2 || s.Sets[0].Elements-before.Sets[0].Elements != 2 || s.Sets[1].Elements-before.Sets[1].Elements != 1 ||
		s.Sets[0].Capacity != 65536 || s.Sets[0].PerMinute < 2 {
		g.t.Errorf("sets: %+v, before %+v", s.Sets, before.Sets)
	}
	for _, u := range s.Upstreams {
		if !u.Healthy || u.Latency <= 0 || u.Queries == 0 || u.Answers == 0 {
			g.t.Errorf("upstream: %+v", u)
		}
	}
	if len(s.Upstreams) != 2 || s.Kernel.Table == "" {
		g.t.Errorf("upstreams: %+v, kernel: %+v", s.Upstreams, s.Kernel)
	}
	g.checkDown(before)
}

// grown is by how much a counter grew that may not have been there.
func grown(before, after *int) int {
	if after == nil {
		return -1
	}
	if before == nil {
		return *after
	}
	return *after - *before
}

// checkDown silences the far end: the route goes down, with why and exit code 10.
func (g *gate) checkDown(before page) {
	g.t.Helper()
	g.Tunnel.Silence(true)
	var s page
	netlab.Eventually(g.t, 20*time.Second, func() error {
		var code int
		if s, code = g.status(); code == 10 {
			return nil
		}
		_, _ = g.Client.ConnectWithin(g.World.Addresses("www.listed.example").V4, 200*time.Millisecond) // what is unanswered brings it down
		return fmt.Errorf("exit code %d, vpn is %+v", code, s.Routes[0])
	})
	if vpn := s.Routes[0]; vpn.Up || !strings.Contains(vpn.Reason, "silent") || !vpn.Since.After(before.Routes[0].Since) {
		g.t.Errorf("exit code 10, and vpn is %+v", vpn)
	}
}

// checkWatch looks at `status --watch` of two seconds, and ends it as Ctrl-C does.
func (g *gate) checkWatch() {
	g.t.Helper()
	p := g.Box.Launch(binary, "status", "--watch")
	netlab.Eventually(g.t, 10*time.Second, func() error {
		n := strings.Count(p.Output(), "ROUTE")
		return netlab.Check(n >= 2, "%d pages, want two: one each two seconds:\n%s", n, p.Output())
	})
	p.Signal(2)
	if code := exitOf(g.t, p); code != 0 {
		g.t.Errorf("--watch ended with %d:\n%s", code, p.Output())
	}
	if strings.Contains(p.Output(), "\x1b") {
		g.t.Errorf("escapes where no terminal is:\n%s", p.Output())
	}
}
