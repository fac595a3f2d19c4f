package status

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/goldentest"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
)

// goldenStatus is a gateway with something of everything.
func goldenStatus() Doc {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	n := func(v int64) *int64 { return &v }
	u := func(v uint64) *uint64 { return &v }
	return Doc{
		At:        at,
		State:     Unknown,
		Because:   []string{"route a-very-long-name-of-a-second-vpn waits for its first handshake"},
		Processes: []Process{{PID: 4711, Version: "v1.2.3", Parts: []control.Part{control.DNS, control.Gateway}, Since: at.Add(-50 * time.Hour)}},
		Routes: []Route{
			{
				Name: "vpn", Egress: "wireguard", By: byHandshake, OnDown: "block", State: "up", Up: true, V4: true, V6: true, Since: at.Add(-49 * time.Hour), Links: []string{"wg0"},
				RX: n(3_456_789_012), TX: n(123_456_789), Tunnel: &Tunnel{Kind: "kernel", Handshake: at.Add(-23 * time.Second), Peers: []Peer{
					{Key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", State: "up", Endpoint: netip.MustParseAddrPort("192.0.2.9:51820"), Handshake: at.Add(-23 * time.Second), AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
					{Key: "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=", State: "down", AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("fd02::/64")}},
				}}, Overwritten: &Counter{7, 420}, Blocked: &Counter{12, 1008},
			},
			{
				Name: "a-very-long-name-of-a-second-vpn", Egress: "wireguard", By: byHandshake, OnDown: "wan", State: "waiting", Since: at.Add(-7 * time.Minute),
				Reason: "no handshake yet: the endpoint is not resolved: wg1.conf:9: endpoint: resolve vpn.example.net: no such name", RX: n(999), TX: n(0),
				Tunnel: &Tunnel{Kind: "userspace"}, Blocked: &Counter{},
			},
			{
				Name: "office", Egress: "interface", By: byProbe, OnDown: "block", State: "up", Up: true, V4: true, Since: at.Add(-2 * time.Hour), Links: []string{"tun0"},
				Probes: &Probes{State: "good", Last: at, RoundTrip: 0.0123},
				Note:   "one of its peers, 192.0.2.9:51820, has never shaken hands", RX: n(1000), TX: n(1_000_000), Blocked: &Counter{},
			},
			{
				Name: "away", Egress: "group", By: byProbe, OnDown: "block", State: "up", Up: true, V4: true, Since: at.Add(-2 * time.Hour), Links: []string{"tun0"},
				Members: []Member{
					{Name: "vpn", Weight: 1, Probes: Probes{State: "bad", Reason: "ping 192.0.2.1: no answer within 600ms", Last: at}},
					{Name: "office", InForce: true, Weight: 1, Probes: Probes{State: "good", Last: at, RoundTrip: 0.0123}},
				}, Blocked: &Counter{},
			},
			{Name: "wan", Egress: "wan", By: byKernelRoute, OnDown: "block", State: "up", Up: true, V4: true, V6: true, Since: at.Add(-50 * time.Hour), Links: []string{"wan0", "wan1"}, RX: n(8_456_789_012_345), TX: n(1 << 40)},
		},
		Local: Local{
			Networks: []Network{
				{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Via: "192.168.1.2", Links: []string{"br-lan"}, Because: "special use, kernel route in main"},
				{Prefix: netip.MustParsePrefix("192.168.1.0/24"), Links: []string{"br-lan"}, Because: "connected"},
				{Prefix: netip.MustParsePrefix("fe80::/64"), Links: []string{"br-lan"}, Because: "connected"},
				{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Because: "in exclude"},
			},
			Others: []Network{{Prefix: netip.MustParsePrefix("64.0.0.0/2"), Via: "192.0.2.1", Links: []string{"wan0"}, Because: "leaves by the WAN"}},
			More:   8123, TooMany: 4097,
		},
		WAN: WAN{
			Defaults:  []string{"IPv4 default via 192.0.2.1 dev wan0 metric 100", "IPv6 default via fe80::1 dev wan0 metric 1024"},
			Resolvers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")},
		},
		Classes: []Class{
			{Name: "tv", Clients: []string{"192.168.1.40/32", "00:00:5e:00:53:01"}, Routes: []string{"vpn"}, Lists: []string{"gfwlist"}, Listeners: []string{"dns://:20123"}, Elements: 40},
			{Name: "guests", Clients: []string{"guest0"}, Routes: []string{}},
		},
		Lists: []List{
			{Name: "gfwlist", Format: "autoproxy", Entries: 4321, Prefixes: 7, Skipped: 12, Read: at.Add(-26 * time.Hour)},
			{Name: "mine", Format: "plain", Entries: 3, Read: at.Add(-50 * time.Hour), LastGood: true, Error: "/etc/nameroute/mine.txt: no entry in 4 lines, read as plain; line 1: \"<html>\": not a name"},
			{Name: "gone", Error: "/etc/nameroute/gone.txt: no such file"},
		},
		Sets: []Set{
			{"vpn4", "vpn", 4, 1234, 65536, 17}, {"vpn6", "vpn", 6, 65536, 65536, 0}, {"inet fw4 vpn_addresses_of_the_router", "a-very-long-name-of-a-second-vpn", 4, 3, 0, 1},
		},
		Upstreams: []Upstream{
			{Address: "10.64.0.1:53", Route: "vpn", State: "healthy", Healthy: true, Latency: 0.0213, Queries: 9000, Answers: 8990, Seen: at},
			{Address: "tls://[2001:db8:1234:5678:9abc:def0:1234:5678]:853%resolver.with-a-long-name.example.net", Route: "a-very-long-name-of-a-second-vpn", State: "unhealthy", Fallback: true, Queries: 3},
		},
		Blocks: []Block{
			{Zones: []string{"."}, View: "gfwlist+mine", Routes: []string{"vpn"}, Queries: u(12000), Hits: u(3000)},
			{Zones: []string{"."}, View: "gfwlist", Clients: "tv", Routes: []string{"vpn"}, Queries: u(7)},
			{Zones: []string{"home.arpa.", "168.192.in-addr.arpa.", "10.in-addr.arpa."}},
			{Zones: []string{"."}, Routes: []string{"wan"}, Queries: u(0), Hits: u(0)},
		},
		MarkWriters: []string{"chain ip mangle PREROUTING, rule handle 2: -j MARK --set-xmark 0x1/0xffffffff"},
		Redirect:    &Redirect{Queries: 1234, Rejected: 5, Problem: "/etc/nameroute/gateway.yaml: redirect_dns: questions by TCP over IPv6 are not redirected"},
		Kernel:      Kernel{Table: "owned", Owner: true, Persist: true, Update: true, Labels: true, Holder: 812, WireGuard: []string{"kernel", "userspace"}},
	}
}

func TestStatusText(t *testing.T) {
	dns := goldenStatus()
	dns.Processes[0].Parts = []control.Part{control.DNS}
	dns.Processes[0].LastGood = "/etc/nameroute/gateway.yaml:3: unknown key: lans: did you mean lan?"
	dns.Processes[0].Refused = &Refused{Error: "/etc/nameroute/Corefile:3: Unknown directive 'rout': did you mean route?", Since: dns.At.Add(-time.Hour)}
	dns.Kernel.WireGuard, dns.Problems, dns.Upstreams = nil, []string{"no resolver of the WAN is known"}, nil
	dns.Kernel.Table, dns.Kernel.Update = "replica", false
	dns.Kernel.Holder, dns.Kernel.Unheld = 0, "no holder runs"
	for i := range dns.Routes {
		r := &dns.Routes[i]
		r.Since, r.Reason, r.Note, r.Links, r.Tunnel, r.RX, r.TX = time.Time{}, "", "", nil, nil, nil, nil
	}
	for file, d := range map[string]Doc{"status.txt": goldenStatus(), "status-dns.txt": dns, "status-nothing.txt": {}} {
		var out bytes.Buffer
		if err := Print(&out, d); err != nil {
			t.Fatal(err)
		}
		goldentest.Compare(t, file, out.String())
		for i, l := range strings.Split(out.String(), "\n") {
			if n := len([]rune(l)); n > output.Width {
				t.Errorf("%s: line %d has %d columns: %s", file, i+1, n, l)
			}
		}
	}
}

// Anything bad outweighs what is unknown.
func TestOverallState(t *testing.T) {
	up := Route{Name: "vpn", State: "up"}
	for _, c := range []struct {
		name string
		doc  Doc
		want State
		code int
	}{
		{"all up", Doc{Routes: []Route{up}}, Good, exit.OK},
		{"a tunnel waits", Doc{Routes: []Route{up, {State: "waiting"}}}, Unknown, exit.Unknown},
		{"a tunnel is idle", Doc{Routes: []Route{{State: "idle"}}}, Unknown, exit.Unknown},
		{"something cannot be read", Doc{Problems: []string{"ip rule: no"}, Routes: []Route{up}}, Unknown, exit.Unknown},
		{"a route is down", Doc{Routes: []Route{{State: "waiting"}, {State: "down"}}}, Bad, exit.Down},
		{"a provider's file is not in use", Doc{Routes: []Route{{State: "up", Note: "wg0.conf:3: unknown key"}}}, Bad, exit.Down},
		{"changed files are not in use", Doc{Routes: []Route{up}, Processes: []Process{{Refused: &Refused{}}}}, Bad, exit.Down},
		{"the last good files are in use", Doc{Routes: []Route{up}, Processes: []Process{{LastGood: "why"}}}, Bad, exit.Down},
		{"a list is not in use", Doc{Routes: []Route{up}, Lists: []List{{Error: "why"}}}, Bad, exit.Down},
		{"a check fails", Doc{Routes: []Route{up}, Checks: &Checks{Findings: []Finding{Found(LevelError, "no way")}}}, Bad, exit.Down},
		{"a check warns", Doc{Routes: []Route{up}, Checks: &Checks{Findings: []Finding{Found(LevelWarning, "slow")}}}, Good, exit.OK},
	} {
		d := Merge([]Doc{c.doc})
		if d.State != c.want || exit.Code(d.Verdict()) != c.code {
			t.Errorf("%s: %s, exit code %d, want %s, %d", c.name, d.State, exit.Code(d.Verdict()), c.want, c.code)
		}
	}
}

// The names in the JSON are the face of the product: this file changes by additions only.
func TestStatusJSON(t *testing.T) {
	var out bytes.Buffer
	if err := PrintJSON(&out, goldenStatus()); err != nil {
		t.Fatal(err)
	}
	goldentest.Compare(t, "status.json", out.String())
	var back Doc
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := PrintJSON(&again, back); err != nil || again.String() != out.String() {
		t.Errorf("read and written again it is another (%v):\n%s", err, again.String())
	}
}

func TestStatusOfParts(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sidecar := Doc{
		At: at, Processes: []Process{{PID: 1, Parts: []control.Part{control.Gateway}}}, Problems: []string{"same"},
		Routes: []Route{{Name: "vpn", State: "down", Since: at, Reason: "gone"}, {Name: "new", State: "up", Up: true, Since: at}, {Name: "wan", State: "up", Up: true, Since: at}},
		Kernel: Kernel{WireGuard: []string{"kernel"}},
	}
	dns := Doc{
		At: at, Processes: []Process{{PID: 2, Parts: []control.Part{control.DNS}}}, Problems: []string{"same", "other"},
		Routes: []Route{{Name: "vpn", State: "unknown", Blocked: &Counter{3, 4}}, {Name: "wan", State: "up", Up: true, Resolvers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}}},
		Sets:   []Set{{Set: "vpn4"}}, Kernel: Kernel{Table: "plain", Owner: true},
	}
	for name, docs := range map[string][]Doc{"sidecar first": {sidecar, dns}, "dns first": {dns, sidecar}} {
		d := Merge(docs)
		if len(d.Processes) != 2 || len(d.Problems) != 2 || len(d.Routes) != 3 || len(d.Sets) != 1 {
			t.Errorf("%s: %+v", name, d)
		}
		vpn := d.route("vpn")
		if vpn.Up || vpn.Reason != "gone" || vpn.Blocked == nil || vpn.Blocked.Packets != 3 {
			t.Errorf("%s: vpn is %+v", name, vpn)
		}
		if wan := d.route("wan"); len(wan.Resolvers) != 1 || wan.Since.IsZero() {
			t.Errorf("%s: wan is %+v", name, wan)
		}
		if d.Kernel.Table != "plain" || !d.Kernel.Owner || len(d.Kernel.WireGuard) != 1 {
			t.Errorf("%s: kernel is %+v", name, d.Kernel)
		}
		if code := exit.Code(d.Verdict()); code != exit.Down {
			t.Errorf("%s: exit code %d, want %d", name, code, exit.Down)
		}
	}
}
