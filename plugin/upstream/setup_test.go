package upstream

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/plugin/upstream/address"
	"github.com/nameroute/nameroute/plugin/upstream/trust"
	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

func resolverAt(tr address.Transport, addr, name string) address.Address {
	return address.Address{Transport: tr, Addr: netip.MustParseAddrPort(addr), Name: name}
}

func TestParse(t *testing.T) {
	defaults := options{
		route: "vpn", policy: sequential, timeout: 2 * time.Second, budget: 4500 * time.Millisecond, expire: 10 * time.Second,
		interval: 500 * time.Millisecond, probe: ".", maxFails: 2,
	}
	for _, tc := range []struct {
		corefile string
		want     func(*options)
	}{
		{"upstream vpn", func(o *options) {}},
		{"upstream vpn 192.0.2.53 192.0.2.54:5353 2001:db8::53 [2001:db8::54] [2001:db8::55]:5353", func(o *options) {
			o.addresses = []address.Address{resolverAt(address.UDP, "192.0.2.53:53", ""), resolverAt(address.UDP, "192.0.2.54:5353", ""),
				resolverAt(address.UDP, "[2001:db8::53]:53", ""), resolverAt(address.UDP, "[2001:db8::54]:53", ""), resolverAt(address.UDP, "[2001:db8::55]:5353", "")}
		}},
		{"upstream vpn dns://192.0.2.53 tcp://192.0.2.53 tcp://[2001:db8::53]:5353 fe80::1%eth0 [fe80::2%eth0]:53", func(o *options) {
			o.addresses = []address.Address{resolverAt(address.UDP, "192.0.2.53:53", ""), resolverAt(address.TCP, "192.0.2.53:53", ""), resolverAt(address.TCP, "[2001:db8::53]:5353", ""),
				resolverAt(address.UDP, "[fe80::1%eth0]:53", ""), resolverAt(address.UDP, "[fe80::2%eth0]:53", "")}
		}},
		{"upstream vpn tls://192.0.2.53 tls://192.0.2.54:8853 tls://[2001:db8::53] tls://[2001:db8::54]:8853", func(o *options) {
			o.addresses = []address.Address{resolverAt(address.TLS, "192.0.2.53:853", ""), resolverAt(address.TLS, "192.0.2.54:8853", ""),
				resolverAt(address.TLS, "[2001:db8::53]:853", ""), resolverAt(address.TLS, "[2001:db8::54]:8853", "")}
		}},
		{"upstream vpn tls://192.0.2.53%dns.example.org tls://192.0.2.54%dns.example.org:8853 tls://2001:db8::53%dns.example.org", func(o *options) {
			o.addresses = []address.Address{resolverAt(address.TLS, "192.0.2.53:853", "dns.example.org"), resolverAt(address.TLS, "192.0.2.54:8853", "dns.example.org"),
				resolverAt(address.TLS, "[2001:db8::53]:853", "dns.example.org")}
		}},
		{"upstream vpn tls://[2001:db8::53%dns.example.org]:8853 tls://[2001:db8::54]%dns.example.org:8853 tls://[2001:db8::55%dns.example.org]", func(o *options) {
			o.addresses = []address.Address{resolverAt(address.TLS, "[2001:db8::53]:8853", "dns.example.org"), resolverAt(address.TLS, "[2001:db8::54]:8853", "dns.example.org"),
				resolverAt(address.TLS, "[2001:db8::55]:853", "dns.example.org")}
		}},
		{"upstream vpn 192.0.2.53 dhcp", func(o *options) {
			o.addresses, o.handed, o.handedAt = []address.Address{resolverAt(address.UDP, "192.0.2.53:53", "")}, true, 1
		}},
		{"upstream vpn ::ffff:192.0.2.53", func(o *options) { o.addresses = []address.Address{resolverAt(address.UDP, "192.0.2.53:53", "")} }},
		{`upstream vpn tls://192.0.2.53 {
			config /etc/other/gateway.yaml
			timeout 1s
			budget 3s
			policy round_robin
			max_fails 0
			health_check 2s domain example.org
			expire 30s
			tls_servername dns.example.org
			max_concurrent 100
			force_tcp
			trust_ad
			tls
		}`, func(o *options) {
			*o = options{
				route: "vpn", config: "/etc/other/gateway.yaml", addresses: []address.Address{resolverAt(address.TLS, "192.0.2.53:853", "")},
				policy: roundRobin, timeout: time.Second, budget: 3 * time.Second, expire: 30 * time.Second,
				interval: 2 * time.Second, probe: "example.org.", maxConcurrent: 100, forceTCP: true, trustAD: true, trust: trust.Options{Name: "dns.example.org", Config: &tls.Config{MinVersion: tls.VersionTLS12}},
			}
		}},
		{"upstream vpn {\n ecs 198.51.100.7/24 2001:db8::/48\n}", func(o *options) {
			o.subnets = wire.Subnets{V4: netip.MustParsePrefix("198.51.100.0/24"), V6: netip.MustParsePrefix("2001:db8::/48")}
		}},
		{"upstream vpn {\n policy random\n}", func(o *options) { o.policy = random }},
		{"upstream vpn {\n health_check 1s\n}", func(o *options) { o.interval = time.Second }},
	} {
		want := defaults
		tc.want(&want)
		want.at = corefile.Position{File: "Testfile", Line: 1}
		got, err := parse(caddy.NewTestController("dns", tc.corefile))
		if err != nil {
			t.Errorf("%s: %v", tc.corefile, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{}), cmpopts.IgnoreUnexported(tls.Config{}),
			cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tc.corefile, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	block := func(line string) string { return "upstream vpn 192.0.2.53 {\n" + line + "\n}" }
	for _, tc := range []struct {
		corefile string
		line     int
		want     string
	}{
		{"upstream", 1, "missing route: want upstream ROUTE [ADDRESS...]"},
		{"upstream vpn\nupstream vpn", 2, "only one upstream per server block: want all addresses on one line"},

		{"upstream vpn dhcp 192.0.2.1 dhcp", 1, "address dhcp: not an IP address: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%dns.example.org"},
		{"upstream vpn dns.example.org", 1, "address dns.example.org: a name, not an IP address: want the resolver's IP address, or tls://dns.example.org or https://dns.example.org if it speaks one of these"},
		{"upstream vpn dns.example.org:53", 1, "address dns.example.org:53: a name, not an IP address: want the resolver's IP address, or tls://dns.example.org or https://dns.example.org if it speaks one of these"},
		{"upstream vpn udp://192.0.2.53", 1, "address udp://192.0.2.53: unknown scheme udp://: want dns://, tcp://, tls://, https://, h3://, quic:// or sdns://"},
		{"upstream vpn /etc/resolv.conf", 1, "address /etc/resolv.conf: a file, not an IP address; leave the addresses out to use the route's own resolvers, and for wan the system's"},
		{"upstream vpn 192.0.2.553", 1, "address 192.0.2.553: not an IP address: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%dns.example.org"},
		{"upstream vpn 192.0.2.53:99999", 1, "address 192.0.2.53:99999: not an IP address: want 192.0.2.53, 192.0.2.53:5353, [2001:db8::53]:53 or tls://192.0.2.53%dns.example.org"},
		{"upstream vpn 192.0.2.53:0", 1, "address 192.0.2.53:0: port 0 is not a valid port"},
		{"upstream vpn 0.0.0.0", 1, "address 0.0.0.0: 0.0.0.0 is not the address of a resolver"},
		{"upstream vpn [ff02::1]:53", 1, "address [ff02::1]:53: ff02::1 is not the address of a resolver"},
		{"upstream vpn tls://192.0.2.53%", 1, `address tls://192.0.2.53%: "" after % is not a server name: want tls://ADDRESS%NAME`},
		{"upstream vpn tls://[2001:db8::53%dns.example.org", 1, "address tls://[2001:db8::53%dns.example.org: unclosed bracket: want tls://[ADDRESS%NAME]:PORT"},
		{"upstream vpn 192.0.2.53 dns://192.0.2.53:53", 1, "duplicate address dns://192.0.2.53:53"},

		{"upstream vpn https://dns.example.org/dns-query{?dns}", 1, "address https://dns.example.org/dns-query{?dns}: the path /dns-query{?dns} is a template: want /dns-query, because queries are sent by POST"},
		{"upstream vpn sdns://AQAAAAAAAAAAAA", 1, "address sdns://AQAAAAAAAAAAAA: the stamp is that of DNSCrypt, which is not supported: want one of plain DNS, DoH, DoT or DoQ"},
		{"upstream vpn quic://dns.example.org tls://dns.example.org {\nbootstrap tls://192.0.2.53\n}", 2, "bootstrap: address tls://192.0.2.53: resolvers' names are looked up in the clear: want an IP address without tls://"},
		{block("bootstrap 192.0.2.54"), 1, "bootstrap: no address is a name: want tls://NAME or https://NAME, or leave bootstrap out"},
		{"upstream vpn tls://192.0.2.53 {\npin abc\n}", 2, `pin: "abc" is not the SHA-256 of a public key in base64: want 44 characters, as ` + "`openssl x509 -pubkey -noout -in CERT | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64`" + " prints them"},
		{block("ignore 192.0.2.0/33"), 2, `ignore: "192.0.2.0/33" is neither an address nor a prefix: want ignore 192.0.2.1 198.51.100.0/24 2001:db8::/32`},
		{block("ignore"), 2, "ignore: want ignore 192.0.2.1 198.51.100.0/24 2001:db8::/32"},
		{block("retry 3"), 2, "retry: unknown property: want config, timeout, budget, policy, max_fails, health_check, expire, tls_servername, tls, pin, bootstrap, ignore, ecs, max_concurrent, force_tcp or trust_ad"},
		{block("timeout 1s\ntimeout 2s"), 3, "duplicate property timeout"},
		{block("timeout"), 2, "timeout: want timeout 2s"},
		{block("timeout 2"), 2, `timeout: "2" is not a positive duration: want timeout 2s`},
		{block("timeout -2s"), 2, `timeout: "-2s" is not a positive duration: want timeout 2s`},
		{block("budget 0s"), 2, `budget: "0s" is not a positive duration: want budget 4.5s`},
		{block("budget 1s"), 1, "timeout: 2s is more than the budget of 1s for the whole query: want a longer budget or a shorter timeout"},
		{block("budget 1h"), 1, "budget: 1h0m0s is longer than clients wait: want at most 1m0s"},
		{block("expire soon"), 2, `expire: "soon" is not a positive duration: want expire 10s`},
		{block("policy quick"), 2, `policy: unknown policy "quick": want sequential, random, round_robin, fastest or race`},
		{block("policy"), 2, "policy: want policy sequential, random, round_robin, fastest or race"},
		{block("max_fails many"), 2, `max_fails: "many" is not a number of at least 0: want max_fails 2, or 0 for never unhealthy`},
		{block("max_concurrent -1"), 2, `max_concurrent: "-1" is not a number of at least 0: want max_concurrent 1000, or 0 for no limit`},
		{block("health_check"), 2, "health_check: want health_check 500ms [domain NAME]"},
		{block("health_check 1s example.org"), 2, "health_check: want health_check 500ms [domain NAME]"},
		{block("health_check often"), 2, `health_check: "often" is not a positive duration: want health_check 500ms [domain NAME]`},
		{block("force_tcp yes"), 2, "force_tcp: takes no value: want force_tcp"},
		{block("tls_servername dns.example.org"), 1, "tls_servername: no address uses TLS: want tls:// before those that do"},
		{block("tls"), 1, "tls: no address uses TLS: want tls:// before those that do"},
		{block("tls a b c d"), 2, "tls: want tls [CERT KEY] [CA]"},
		{"upstream vpn tls://192.0.2.53%dns.example.org {\ntls_servername dns.example.net\n}", 1,
			"tls_servername: address tls://192.0.2.53:853 already has the name dns.example.org: want only one of the two"},
		{block("config"), 2, "config: want one file"},
	} {
		_, err := parse(caddy.NewTestController("dns", tc.corefile))
		want := fmt.Sprintf("Testfile:%d - Error during parsing: %s", tc.line, tc.want)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", tc.corefile, err, want)
		}
	}
}

// TestSetup: gateway.yaml is read, and the route looked up in it, when the server starts.
func TestSetup(t *testing.T) {
	if err := dnsserver.SetDirectives([]string{"bind", "upstream"}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := write(t, dir, "gateway.yaml", "lan: [lan0]\nroutes:\n  office:\n    interface: tun0\n")
	missing := filepath.Join(dir, "none.yaml")
	start := func(route, file string) error {
		t.Helper()
		text := ".:0 {\n bind 127.0.0.1\n upstream " + route + " 192.0.2.53 {\n  config " + file + "\n }\n}\n"
		inst, err := caddy.Start(caddy.CaddyfileInput{Filepath: "Corefile", ServerTypeName: "dns", Contents: []byte(text)})
		if err == nil {
			stop(t, inst)
		}
		return err
	}
	instance.SetDefaults("", dir)
	for _, route := range []string{"office", "wan"} {
		if err := start(route, file); err != nil {
			t.Errorf("%s: %v", route, err)
		}
	}
	err := start("offise", file)
	if err == nil || !strings.HasPrefix(err.Error(), "plugin/upstream: Corefile:3 - Error during parsing: unknown route \"offise\": did you mean \"office\"?") {
		t.Errorf("unknown route: %v", err)
	}
	if err := start("wan", missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("missing file: %v", err)
	}
	if err := setup(caddy.NewTestController("dns", "upstream")); err == nil || !strings.HasPrefix(err.Error(), "plugin/upstream: Testfile:1 - ") {
		t.Errorf("no route: %v", err)
	}
}
