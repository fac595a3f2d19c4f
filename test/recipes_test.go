package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// recipes returns the Corefiles of docs/recipes.md, in the order of the page.
func recipes(t *testing.T) []string {
	t.Helper()
	var all []string
	text, err := os.ReadFile("../docs/recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fences("docs/recipes.md", string(text)) {
		if f.language == "corefile" {
			all = append(all, f.text)
		}
	}
	if len(all) != 2 {
		t.Fatalf("%d Corefiles on the page, want 2", len(all))
	}
	return all
}

// The recipes do what the page says: a blocked name does not exist and is not queried, other
// names are as before; the query log names the route that an answer's addresses take, cached
// or not.
func TestRecipes(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{Gateway: "wan_resolvers: [" + g.Plan.ISP.V4.String() + "]"})
	g.Box.Write("ads.txt", "||ads.example^\n||ads.listed.example^\n@@||good.ads.example^\n")
	g.Box.Write("gateway.yaml", strings.Replace(g.read("gateway.yaml"), "lists:\n",
		fmt.Sprintf("lists:\n  ads:\n    file: %s\n", filepath.Join(g.Box.Dir, "ads.txt")), 1))

	page := recipes(t)
	g.Box.Write("Corefile", page[0])
	g.start()
	g.Reset()
	for _, name := range []string{"ads.example.", "www.ads.example.", "ads.listed.example."} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeHTTPS} {
			m, err := g.Client.Query(new(dns.Msg).SetQuestion(name, qtype), "udp")
			if err != nil || m.Rcode != dns.RcodeNameError || len(m.Ns) != 1 || len(m.Answer) > 0 {
				t.Errorf("%s %s: %v, %v; want NXDOMAIN with its SOA", name, dns.TypeToString[qtype], m, err)
			}
		}
	}
	g.wantNoQueryByWAN("ads.example")
	g.wantNoQueryByWAN("ads.listed.example")
	g.wantVia(g.Client, netlab.ViaWAN, g.resolve("good.ads.example")...)
	g.wantVia(g.Client, netlab.ViaVPN, g.resolve("www.listed.example")...)

	g.Box.Write("Corefile", page[1])
	g.hangUp("reload complete")
	for range 2 { // the second answer is cached
		g.resolve("log.listed.example")
		g.resolve("log.other.example")
	}
	for name, route := range map[string]string{"log.listed.example.": "vpn", "log.other.example.": "-"} {
		line := regexp.MustCompile(regexp.QuoteMeta(g.Plan.Client.V4.String()) + ` A ` + regexp.QuoteMeta(name) + ` NOERROR \S+ route=` + route + `\b|` +
			regexp.QuoteMeta(g.Plan.Client.V4.String()) + ` A ` + regexp.QuoteMeta(name) + ` NOERROR \S+ route=` + route + `\n`)
		netlab.Eventually(t, 10*time.Second, func() error {
			n := len(line.FindAllString(g.p.Output(), -1))
			return netlab.Check(n >= 2, "%d lines of the query log name route %s for %s:\n%s", n, route, name, g.p.Output())
		})
	}
}
