package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// misleading is a reason why a name goes another way than is expected.
type misleading struct {
	name   string
	plant  func(g *gate) // makes it so
	ask    []string      // what is explained
	code   string        // the verdict's
	says   string        // in the verdict
	after  string        // the verdict's code once the remedy is applied; "": it has no command
	mended func(g *gate) // what is so then
}

// Promise: `explain` names the true reason why a name goes another way than its list says, or
// is on none, and what it prints as the remedy mends it. One lab has all reasons one after the
// other; packets say that the planted one is real, and that it is mended.
func TestExplainNamesTheReason(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.misleadingFiles()
	g.start()
	for _, c := range g.misleadings() {
		if ok := t.Run(c.name, func(t *testing.T) { g.in(t).wantExplained(c) }); !ok {
			return // what was planted is still there
		}
	}
}

func (g *gate) wantExplained(c misleading) {
	g.t.Helper()
	if c.plant != nil {
		c.plant(g)
	}
	var e explained
	netlab.Eventually(g.t, 30*time.Second, func() error { // what was planted takes a moment
		e = g.explainJSON(c.ask...)
		return netlab.Check(e.Code == c.code && strings.Contains(e.Verdict, c.says), "%s, want %s with %q:\n%s", e.Code, c.code, c.says, e.page(g, c.ask))
	})
	if c.after != "" {
		commands := g.printedCommands(c, e)
		g.Box.Sh(strings.Join(commands, "\n"))
		netlab.Eventually(g.t, 30*time.Second, func() error {
			e = g.explainJSON(c.ask...)
			return netlab.Check(e.Code == c.after, "after %q: %s, want %s:\n%s", commands, e.Code, c.after, e.page(g, c.ask))
		})
	}
	if c.mended != nil {
		c.mended(g)
	}
}

// printedCommands returns the commands of the first remedy as the page prints them.
func (g *gate) printedCommands(c misleading, e explained) (commands []string) {
	g.t.Helper()
	if len(e.Remedies) == 0 || len(e.Remedies[0].Commands) == 0 {
		g.t.Fatalf("no command:\n%s", e.page(g, c.ask))
	}
	_, remedies, _ := strings.Cut(g.explain(c.ask...), "WHAT WOULD CHANGE IT\n")
	for _, line := range strings.Split(remedies, "\n")[1:] {
		command, ok := strings.CutPrefix(line, "    $ ")
		if !ok {
			break
		}
		commands = append(commands, strings.Replace(command, "nameroute ", binary+" ", 1))
	}
	if strings.Join(commands, "\n") != strings.Replace(strings.Join(e.Remedies[0].Commands, "\n"), "nameroute ", binary+" ", 1) {
		g.t.Fatalf("the page says %q, the JSON %q", commands, e.Remedies[0].Commands)
	}
	return commands
}

// explained is what the tests read of `nameroute explain --json`.
type explained struct {
	State, Code, Verdict string
	Remedies             []struct {
		Code     string
		Commands []string
	}
}

// page is the page, for messages.
func (e explained) page(g *gate, args []string) string { return g.explain(args...) }

// explain runs `nameroute explain` for the lab's client and returns what it prints.
func (g *gate) explain(args ...string) string {
	g.t.Helper()
	out, err := g.Box.Exec(append(append([]string{binary, "explain", "--client", g.Plan.Client.V4.String()}, args...), g.Box.Flags()...)...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() < 10) {
		g.t.Fatalf("explain %v: %v\n%s", args, err, out)
	}
	return out
}

func (g *gate) explainJSON(args ...string) (e explained) {
	g.t.Helper()
	out := g.explain(append(args, "--json")...)
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&e); err != nil {
		g.t.Fatalf("explain %v: %v\n%s", args, err, out)
	}
	return e
}

// misleadingFiles writes the files in which all the reasons have room.
func (g *gate) misleadingFiles() {
	for i, link := range []string{"office", "branch", "school"} {
		g.Box.IP("link add "+link+"0 type veth peer name "+link+"1", "link set "+link+"0 up", "link set "+link+"1 up", fmt.Sprintf("addr add 10.55.%d.1/24 dev %s0", i, link))
	}
	g.Box.WriteFiles(netlab.Setup{Listed: []string{"listed.example", "front.example", "corp.example", "excluded.example", "both.example"}, Plugins: "rebind"})
	g.Box.Write("nets.txt", "30.66.0.0/16\n30.67.0.0/16\n")
	g.Box.Write("school.txt", "school.example\n")
	g.Box.Write("big.txt", strings.Join(manyNames(30), "\n")+"\n")
	g.Box.Write("auto.txt", "[AutoProxy 0.2.9]\n||excepted.example\n@@||www.excepted.example\n")
	g.Box.Write("office.txt", "office.example\nshared-office.example\n")
	g.Box.Write("branch.txt", "branch.example\n")
	g.Box.Write("direct.txt", "direct.example\nboth.example\n")
	file := func(name string) string { return filepath.Join(g.Box.Dir, name) }
	yaml := g.read("gateway.yaml")
	yaml = strings.Replace(yaml, "routes:\n", "clients:\n  pupils: {prefix: [192.168.77.99]}\nexclude: [30.77.77.77]\nroutes:\n  office: {interface: office0, next_hop: 10.55.0.2, prefixes: [nets]}\n"+
		"  branch: {interface: branch0, next_hop: 10.55.1.2, on_down: wan, match: {proto: tcp, ports: [443]}}\n"+
		"  school: {interface: school0, next_hop: 10.55.2.2, clients: [pupils]}\n", 1)
	for _, l := range []string{"auto", "office", "branch", "direct", "nets", "school", "big"} {
		yaml += fmt.Sprintf("  %s: {file: %s}\n", l, file(l+".txt"))
	}
	g.Box.Write("gateway.yaml", yaml)
	isp := g.Plan.ISP.V4
	core := fmt.Sprintf(". {\n    listed direct\n    upstream wan %s\n}\n", isp)
	listed, rest, _ := strings.Cut(strings.Replace(g.read("Corefile"), "    listed mine\n", "    listed mine auto big\n", 1), "}\n. {")
	core += listed + "}\n"
	for _, r := range []string{"office", "branch", "school"} {
		clients := ""
		if r == "school" {
			clients = "    clients pupils\n"
		}
		core += fmt.Sprintf(". {\n"+clients+"    listed %s\n    route %[1]s\n    upstream wan %s\n}\n", r, isp)
	}
	g.Box.Write("Corefile", core+". {"+rest+fmt.Sprintf("corp.example {\n    upstream wan %s\n}\n", isp))
	g.World.Add("excluded.example. 300 IN A 30.77.77.77", "intranet.example. 300 IN A 10.9.9.9", "inprefix.example. 300 IN A 30.66.1.1")
}

// byVPN wants a client that asks now to be routed via route vpn.
func byVPN(name string) func(*gate) {
	return func(g *gate) {
		g.t.Helper()
		g.awaitVia(g.Client, netlab.ViaVPN, 30*time.Second, g.resolve(name)...)
	}
}

func byWAN(name string) func(*gate) {
	return func(g *gate) {
		g.t.Helper()
		g.awaitVia(g.Client, netlab.ViaWAN, 30*time.Second, g.resolve(name)...)
		g.Box.Run("conntrack", "-F") // what it sent is over
	}
}

func (g *gate) misleadings() []misleading {
	front := func(g *gate) { // an unlisted name with the addresses of a listed one
		g.resolve("front.example")
		p := g.World.Addresses("front.example")
		g.World.Add("neighbour.example. 300 IN A "+p.V4.String(), "neighbour.example. 300 IN AAAA "+p.V6.String())
		byVPN("neighbour.example")(g)
	}
	return []misleading{
		{name: "listed", ask: []string{"www.listed.example"}, code: "listed", says: "goes by route vpn (wg0): list mine holds it by", mended: byVPN("www.listed.example")},
		{name: "not listed", plant: byWAN("missing.example"), ask: []string{"missing.example"}, code: "not_listed", says: "goes by the WAN (wan0)", after: "listed", mended: byVPN("missing.example")},
		{name: "exception", plant: byWAN("www.excepted.example"), ask: []string{"www.excepted.example"}, code: "exception", says: "auto.txt:3: @@||www.excepted.example", after: "listed", mended: byVPN("www.excepted.example")},
		{name: "shared address", plant: front, ask: []string{"neighbour.example"}, code: "shared_address", says: "front.example", after: "not_listed", mended: byWAN("neighbour.example")},
		{name: "hidden zone", plant: byWAN("corp.example"), ask: []string{"corp.example"}, code: "hidden_zone", says: "has the more specific zone corp.example.", after: "listed", mended: byVPN("corp.example")},
		{name: "block order", plant: byWAN("both.example"), ask: []string{"both.example"}, code: "block_order", says: "comes before it", after: "listed", mended: byVPN("both.example")},
		{name: "excluded", ask: []string{"excluded.example"}, code: "excluded", says: "30.77.77.77/32 in `exclude`", after: "listed"},
		{name: "private address", ask: []string{"intranet.example"}, code: "private_removed", says: "10.9.9.9", after: "not_listed"},
		{name: "route down", plant: func(g *gate) { g.Box.Down("office0") }, ask: []string{"office.example"}, code: "route_down", says: "nowhere", after: "listed"},
		{name: "route down, by the WAN", plant: func(g *gate) { g.Box.Down("branch0") }, ask: []string{"branch.example"}, code: "route_down_wan", says: "`on_down: wan`", after: "listed"},
		{name: "another program's policy rule", plant: func(g *gate) { g.Box.Sh("ip -4 rule add priority 50 from all lookup main") }, ask: []string{"www.listed.example"}, code: "other_rule", says: "ip -4 rule 50", after: "listed", mended: byVPN("www.listed.example")},
		{name: "another program's firewall", plant: func(g *gate) {
			g.Box.NFT("table inet fw { chain forward { type filter hook forward priority 0; oifname \"wg0\" drop; }; }")
			g.wantClosed(g.Client, g.addresses("www.listed.example")...)
		}, ask: []string{"www.listed.example"}, code: "other_firewall", says: "chain inet fw forward", after: "listed", mended: byVPN("www.listed.example")},
		{name: "within a prefix", ask: []string{"inprefix.example"}, code: "prefix", says: "30.66.0.0/16 of list nets", after: "not_listed"},
		{name: "other ports", ask: []string{"http://branch.example/"}, code: "match", says: "takes only tcp 443"},
		{name: "order of routes", plant: func(g *gate) {
			g.resolve("front.listed.example")
			p := g.World.Addresses("front.listed.example")
			g.World.Add("shared-office.example. 300 IN A " + p.V4.String())
			if _, err := g.Client.Resolve("shared-office.example"); err != nil {
				g.t.Fatal(err)
			}
		}, ask: []string{"front.listed.example"}, code: "route_order", says: "shared-office.example", after: "listed", mended: byVPN("front.listed.example")},
		{name: "list not in use", plant: func(g *gate) {
			g.Box.Write("big.txt", "grown.example\n"+strings.Join(manyNames(5), "\n")+"\n")
			g.awaitOutput("it has shrunk", 30*time.Second)
			byWAN("grown.example")(g)
		}, ask: []string{"grown.example"}, code: "list_failed", says: "it has shrunk", after: "listed", mended: byVPN("grown.example")},
		g.refusedFiles(), g.olderFlow(), g.otherResolver(),
		{name: "another class", plant: byWAN("school.example"), ask: []string{"school.example"}, code: "class", says: "only for clients of pupils", after: "listed"},
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("n%d.big.example", i))
	}
	return names
}

// refusedFiles are files with an error, which are not in use.
func (g *gate) refusedFiles() misleading {
	var good string
	return misleading{name: "files not in use", plant: func(g *gate) {
		good = g.read("Corefile")
		g.Box.Write("Corefile", strings.Replace(good, "listed mine", "listed mine new", 1))
	}, ask: []string{"refused.example"}, code: "files_refused", says: "new", mended: func(g *gate) {
		g.Box.Write("Corefile", good)
		netlab.Eventually(g.t, 30*time.Second, func() error {
			return netlab.Check(g.explainJSON("refused.example").Code == "not_listed", "the files are not in use again")
		})
	}}
}

// olderFlow is a flow that began before its name was listed.
func (g *gate) olderFlow() misleading {
	var flow *netlab.Flow
	name := "later.example"
	return misleading{name: "older flow", plant: func(g *gate) {
		addr := g.resolve(name)[0]
		flow = g.Client.Flow(addr)
		g.Box.Sh("echo " + name + " >> " + filepath.Join(g.Box.Dir, "mine.txt"))
		netlab.Eventually(g.t, 30*time.Second, func() error {
			return netlab.Check(g.explainJSON(name).Code != "not_listed", "it is not listed yet")
		})
	}, ask: []string{name}, code: "older_flow", says: "older than its listing", after: "listed", mended: func(g *gate) {
		netlab.Eventually(g.t, 30*time.Second, func() error { // its packets are not the WAN's any more
			return netlab.Check(flow.Report().Err != nil, "it goes on: %s", flow.Report())
		})
		byVPN(name)(g)
	}}
}

// otherResolver is a client that never asked this box.
func (g *gate) otherResolver() misleading {
	name, at := "browser.listed.example", netip.AddrPortFrom(g.Plan.World.V4, 53)
	ask := func(g *gate, name string) error {
		reply, err := g.Client.QueryAt(at, new(dns.Msg).SetQuestion(name+".", dns.TypeA), "udp")
		return netlab.Check(err == nil && len(reply.Answer) == 1, "%s: %v, %v", name, reply, err)
	}
	mustAsk := func(g *gate) {
		g.t.Helper()
		if err := ask(g, name); err != nil {
			g.t.Fatal(err)
		}
	}
	v4 := func(g *gate) netip.Addr { return g.World.Addresses(name).V4 }
	return misleading{name: "another resolver", plant: func(g *gate) {
		mustAsk(g)
		g.wantVia(g.Client, netlab.ViaWAN, v4(g))
		g.Box.Run("conntrack", "-F") // what it sent is over
		mustAsk(g)
	}, ask: []string{name}, code: "other_resolver", says: at.Addr().String() + " over port 53", after: "listed", mended: func(g *gate) {
		const other = "unseen.listed.example"                 // that explain has not asked for
		netlab.Eventually(g.t, 30*time.Second, func() error { // the file is read again within two seconds
			if err := ask(g, other); err != nil {
				return err
			}
			egress, err := g.Client.Connect(g.World.Addresses(other).V4)
			return netlab.Check(err == nil && egress == netlab.ViaVPN, "by %q, %v", egress, err)
		})
	}}
}
