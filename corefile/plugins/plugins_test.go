package plugins

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin/pkg/log"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) {
	if err := Register(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dnsserver.Quiet = true
	log.Discard()
	netlab.Main(m)
}

func TestDirectivesAreThePluginsLinkedIn(t *testing.T) {
	var linked []string
	for _, name := range caddy.ListPlugins()["others"] {
		if directive, ok := strings.CutPrefix(name, "dns."); ok {
			linked = append(linked, directive)
		}
	}
	order := corefile.Directives()
	for _, name := range order {
		if !slices.Contains(linked, name) {
			t.Errorf("directive %s has no plugin", name)
		}
	}
	for _, name := range linked {
		if !slices.Contains(order, name) {
			t.Errorf("plugin %s has no place in the order: a Corefile cannot use it", name)
		}
	}
	if !slices.Equal(caddy.ValidDirectives("dns"), order) {
		t.Errorf("CoreDNS takes %q, want %q", caddy.ValidDirectives("dns"), order)
	}
}

// A directive that is new must be one or the other: a plugin that queries by sockets of its
// own leaks the names of a block with route.
func TestEveryDirectiveIsKnownToFetchOrNot(t *testing.T) {
	local := strings.Fields(`root metadata cancel proxyproto quic grpc_server https https3 timeouts multisocket reload nsid
		bufsize bind debug ready health pprof shed prometheus errors log dnstap replay clients listed route local dns64 siit any chaos loadbalance
		tsig rewrite acl ddr cache header dnssec tls minimal template transfer dynupdate hosts file auto leases home loop rebind
		upstream erratic whoami sign view`)
	for _, name := range corefile.Directives() {
		if slices.Contains(local, name) == slices.Contains(corefile.Fetching(), name) {
			t.Errorf("%s: does its plugin query other servers by sockets of its own? Add it to corefile.Fetching or to this list", name)
		}
	}
}

// The order decides which answers pass route, listed and rebind.
func TestOrderOfOurDirectives(t *testing.T) {
	order := corefile.Directives()
	at := func(name string) int { return slices.Index(order, name) }
	if at("listed") > at("route") {
		t.Error("route is above listed")
	}
	for _, answers := range []string{"local", "dns64", "siit", "any", "chaos", "rewrite", "acl", "ddr", "cache", "template", "hosts", "file", "auto",
		"secondary", "leases", "home", "rebind", "upstream", "forward", "grpc", "erratic", "whoami"} {
		if at(answers) < at("route") {
			t.Errorf("%s is above route, which does not see its answers", answers)
		}
	}
	ours := []string{"template", "hosts", "file", "auto", "secondary", "leases", "home", "rebind", "upstream"}
	if !slices.IsSortedFunc(ours, func(a, b string) int { return at(a) - at(b) }) || at("cache") > at("hosts") || at("ddr") > at("cache") {
		t.Errorf("want ddr, cache, then %q, in this order", ours)
	}
	for _, below := range []string{"upstream", "forward", "grpc"} {
		if at(below) < at("rebind") {
			t.Errorf("%s is above rebind, which does not see its answers", below)
		}
	}
	for _, above := range []string{"cache", "dns64", "rewrite", "hosts", "template"} {
		if at(above) > at("upstream") {
			t.Errorf("%s is below upstream, which ends the chain", above)
		}
	}
}

// page is a Corefile or a gateway.yaml that readers will copy.
type page struct{ where, text string }

var fenceLine = regexp.MustCompile("^(```|~~~) *([A-Za-z]+) *$")

// fences are the blocks of code in a language in all pages that match a pattern.
func fences(t *testing.T, pattern, language string) []page {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no page %s: %v", pattern, err)
	}
	var found []page
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for i := 0; i < len(lines); i++ {
			m := fenceLine.FindStringSubmatch(lines[i])
			if m == nil || !strings.EqualFold(m[2], language) {
				continue
			}
			end := slices.Index(lines[i+1:], m[1])
			if end < 0 {
				t.Fatalf("%s:%d: this block of code is never closed", file, i+1)
			}
			found = append(found, page{fmt.Sprintf("%s:%d", file, i+1), strings.Join(lines[i+1:i+1+end], "\n") + "\n"})
			i += end + 1
		}
	}
	return found
}

// Every Corefile that we show or ship starts, on a machine that has what it names, and
// answers.
func TestCorefilesBoot(t *testing.T) {
	netlab.Need(t, "nft")
	pages := append([]page{{"Corefile", string(corefile.Shipped)}}, fences(t, "README.md", "corefile")...)
	pages = append(pages, fences(t, "docs/home.md", "corefile")...)
	pages = append(pages, fences(t, "docs/recipes.md", "corefile")...)
	pages = append(pages, fences(t, "docs/encrypted.md", "corefile")...)
	pages = append(pages, fences(t, "docs/dnssec.md", "corefile")...)
	pages = append(pages, fences(t, "docs/scenarios/*.md", "corefile")...)
	pages = append(pages, fences(t, "plugin/*/README.md", "corefile")...)
	if len(pages) < 6 {
		t.Fatalf("only %d Corefiles found: the pages are read wrongly", len(pages))
	}
	for _, p := range pages {
		t.Run(p.where, func(t *testing.T) { boot(t, p) })
	}
}

func boot(t *testing.T, p page) {
	f, err := corefile.Parse(p.where, []byte(p.text))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	needs := needsOf(f)
	needs.write(t, dir)
	p.text = strings.ReplaceAll(p.text, "/etc/nameroute/box", filepath.Join(dir, "box"))
	if strings.Contains(p.text, "box.crt") {
		certificate(t, dir)
	}
	text, err := corefile.Expand(p.where, []byte(p.text))
	if err != nil {
		t.Fatal(err)
	}
	p.text = string(text.Body)
	instance.SetDefaults(filepath.Join(dir, "gateway.yaml"), filepath.Join(dir, "state"))
	in := caddy.CaddyfileInput{Contents: []byte(p.text), Filepath: filepath.Join(dir, "Corefile"), ServerTypeName: "dns"}
	if err := caddy.ValidateAndExecuteDirectives(in, nil, true); err != nil {
		t.Fatal(err)
	}
	inst, err := caddy.Start(in)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, err := range append(inst.ShutdownCallbacks(), inst.Stop()) {
			if err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(nft(t, "list tables"), "inet nameroute") {
			nft(t, "delete table inet nameroute") // it outlives us, as it should
		}
	}()
	// No resolver is there, so any answer is right, from each block's zone.
	for _, b := range f.Blocks {
		for _, zone := range b.Zones {
			name := dns.Fqdn("www." + strings.TrimPrefix(zone.Name, "."))
			for _, network := range map[string][]string{"dns": {"udp", "tcp"}, "tls": {"tcp-tls"}}[zone.Transport] {
				client := dns.Client{Net: network, Timeout: 8 * time.Second, TLSConfig: &tls.Config{InsecureSkipVerify: true}}
				if _, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), net.JoinHostPort("127.0.0.1", zone.Port)); err != nil {
					t.Errorf("%s over %s: %v", name, network, err)
				}
			}
		}
	}
}

// certificate makes box.crt and box.key.
func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"dns.home.example"}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "box.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, dir, "box.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

// needs is what a Corefile names and a machine must have.
type needs struct {
	routes, lists, classes []string
	listedForWAN           bool       // a block has `route wan`
	sets                   [][]string // of `set inet TABLE SET4 SET6`
}

func needsOf(f *corefile.File) (n needs) {
	n.lists = f.Lists()
	for _, b := range f.Blocks {
		if b.Clients != nil && !slices.Contains(n.classes, b.Clients.Class) {
			n.classes = append(n.classes, b.Clients.Class)
		}
		var routes []string
		if b.Route != nil {
			n.listedForWAN = n.listedForWAN || b.Route.Name == gateway.WAN
			routes = append(routes, b.Route.Name)
		}
		if b.Upstream != nil {
			routes = append(routes, b.Upstream.Route)
		}
		for _, r := range routes {
			if r != gateway.WAN && !slices.Contains(n.routes, r) {
				n.routes = append(n.routes, r)
			}
		}
		for _, d := range b.Directives {
			for _, p := range d.Properties {
				if d.Name == "route" && p.Name == "set" {
					n.sets = append(n.sets, p.Args[1:])
				}
			}
		}
	}
	return n
}

// write makes a gateway.yaml with the routes and lists, and all that it names.
func (n needs) write(t *testing.T, dir string) {
	t.Helper()
	yaml := &bytes.Buffer{}
	fmt.Fprintln(yaml, "wan_resolvers: [192.0.2.54]")
	if len(n.classes) > 0 {
		fmt.Fprintln(yaml, "clients:")
	}
	for i, class := range n.classes {
		fmt.Fprintf(yaml, "  %s: {prefix: [192.0.2.%d]}\n", class, 100+i)
	}
	if len(n.routes) > 0 || n.listedForWAN {
		fmt.Fprintln(yaml, "routes:")
	}
	if n.listedForWAN {
		fmt.Fprintln(yaml, "  wan: {}")
	}
	for i, r := range n.routes {
		fmt.Fprintf(yaml, "  %s: {wireguard: %s.conf, link: wg%d}\n", r, r, i)
		write(t, dir, r+".conf", `[Interface]
PrivateKey = YBvVAlSNbBpQNsqVXZcqLJbmKJ9kTHg4c2GRD9NHTXM=
Address = 10.66.0.2/32, fd66::2/128
DNS = 10.66.0.1
[Peer]
PublicKey = 26VNzuHXsCrtgPSpHWNRB2/xCKKXKUbwEcfKiBDLJ1k=
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = 192.0.2.1:51820
`)
	}
	if len(n.lists) > 0 {
		fmt.Fprintln(yaml, "lists:")
	}
	for _, l := range n.lists {
		fmt.Fprintf(yaml, "  %[1]s: {file: %[1]s.txt}\n", l)
		write(t, dir, l+".txt", l+".example\n")
	}
	write(t, dir, "gateway.yaml", yaml.String())
	for _, s := range n.sets {
		nft(t, fmt.Sprintf("add table inet %[1]s; add set inet %[1]s %[2]s { type ipv4_addr; flags timeout; }; add set inet %[1]s %[3]s { type ipv6_addr; flags timeout; }", s[0], s[1], s[2]))
		t.Cleanup(func() { nft(t, "delete table inet "+s[0]) })
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func nft(t *testing.T, script string) string {
	t.Helper()
	out, err := exec.Command("nft", script).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", script, err, out)
	}
	return string(out)
}

// Every gateway.yaml that the README shows is one.
func TestGatewaysParse(t *testing.T) {
	pages := fences(t, "README.md", "yaml")
	if len(pages) < 2 {
		t.Fatalf("only %d found: the page is read wrongly", len(pages))
	}
	for _, p := range pages {
		if _, err := config.Parse("gateway.yaml", []byte(p.text)); err != nil {
			t.Errorf("%s: %v", p.where, err)
		}
	}
}

// A Corefile that is wrong is seen to be: the tests above can fail.
func TestBrokenCorefilesAreSeen(t *testing.T) {
	netlab.Need(t, "nft")
	dir := t.TempDir()
	needs{routes: []string{"vpn"}, lists: []string{"mine"}}.write(t, dir)
	instance.SetDefaults(filepath.Join(dir, "gateway.yaml"), filepath.Join(dir, "state"))
	for _, text := range []string{
		". {\n    listd mine\n}\n",
		". {\n    listed mien\n}\n",
		". {\n    route vpm\n}\n",
		". {\n    route wan\n}\n",
		". {\n    route vpn\n    forward . 192.0.2.1\n}\n",
		". {\n    upstream vpn 192.0.2.256\n}\n",
		". {\n    upstream\n}\n",
	} {
		in := caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
		if inst, err := caddy.Start(in); err == nil {
			t.Errorf("%q passes", text)
			inst.ShutdownCallbacks()
			_ = inst.Stop() // the test has failed already
		}
	}
}

// `config FILE` is below the block's root, for each of the plugins that read one.
func TestConfigBelowRoot(t *testing.T) {
	netlab.Need(t, "nft")
	dir := t.TempDir()
	needs{routes: []string{"vpn"}, lists: []string{"mine"}}.write(t, dir)
	instance.SetDefaults(filepath.Join(dir, "none.yaml"), filepath.Join(dir, "state"))
	text := `.:5300 {
    root ` + dir + `
    listed mine {
        config gateway.yaml
    }
    route vpn {
        config gateway.yaml
    }
    upstream vpn 192.0.2.53 {
        config gateway.yaml
    }
}
.:5300 {
    whoami
}
`
	inst, err := caddy.Start(caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"})
	if err != nil {
		t.Fatal(err)
	}
	defer nft(t, "delete table inet nameroute")
	defer func() {
		for _, err := range append(inst.ShutdownCallbacks(), inst.Stop()) {
			if err != nil {
				t.Error(err)
			}
		}
	}()
	s, ok, err := instance.ReadStatus(filepath.Join(dir, "gateway.yaml"))
	if err != nil || !ok || len(s.Blocks) != 2 || len(s.Sets) != 2 || len(s.Lists) != 1 {
		t.Errorf("the one gateway.yaml: %v, %+v, %v", ok, s, err)
	}
}
