package listed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/rewrite"
	_ "github.com/coredns/coredns/plugin/template"
	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/pkg/instance"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) {
	if err := dnsserver.SetDirectives([]string{"bind", name, "rewrite", "template"}); err != nil {
		panic(err)
	}
	netlab.Main(m)
}

// house is a gateway.yaml with two lists, in a directory of its own.
type house struct {
	t    *testing.T
	dir  string
	inst *caddy.Instance
}

func newHouse(t *testing.T, first, second string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir()}
	h.write("first.txt", first)
	h.write("second.txt", second)
	h.write("gateway.yaml", "lists:\n  first: {file: first.txt}\n  second: {file: second.txt}\n")
	instance.SetDefaults("", filepath.Join(h.dir, "state"))
	return h
}

func (h *house) write(file, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, file), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// block answers A and HTTPS with text that tells which block it was.
func block(listed, txt, extra string) string {
	return fmt.Sprintf(". {\n bind 127.0.0.1\n %s\n template IN TXT . {\n answer \"{{ .Name }} 60 IN TXT %s\"\n }\n %s\n}\n", listed, txt, extra)
}

func (h *house) input(corefile string) caddy.Input {
	text := strings.ReplaceAll(corefile, "CONFIG", filepath.Join(h.dir, "gateway.yaml"))
	return caddy.CaddyfileInput{Contents: []byte(strings.ReplaceAll(text, ". {", ".:0 {")), Filepath: "Corefile", ServerTypeName: "dns"}
}

func (h *house) start(corefile string) error {
	h.t.Helper()
	inst, err := caddy.Start(h.input(corefile))
	if err != nil {
		return err
	}
	h.inst = inst
	h.t.Cleanup(func() { h.inst.ShutdownCallbacks(); h.inst.Stop() })
	return nil
}

// ask returns what the block that answered says of itself.
func (h *house) ask(qname string, qtype uint16) string {
	h.t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(qname, qtype)
	r, err := dns.Exchange(q, h.inst.Servers()[0].LocalAddr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	if len(r.Answer) == 0 {
		return dns.RcodeToString[r.Rcode]
	}
	if t, ok := r.Answer[0].(*dns.TXT); ok {
		return t.Txt[0]
	}
	return r.Answer[0].String()
}

func TestFirstMatchWins(t *testing.T) {
	h := newHouse(t, "one.example\nboth.example\n", "two.example\nboth.example\n")
	err := h.start(block("listed first {\n config CONFIG\n }", "first", "") +
		block("listed second {\n config CONFIG\n }", "second", "") + block("", "rest", ""))
	if err != nil {
		t.Fatal(err)
	}
	for qname, want := range map[string]string{
		"one.example.": "first", "WWW.One.Example.": "first", "two.example.": "second",
		"both.example.": "first", "other.example.": "rest", "notone.example.": "rest", "example.": "rest",
	} {
		if got := h.ask(qname, dns.TypeTXT); got != want {
			t.Errorf("%s is answered by %s, want %s", qname, got, want)
		}
	}
}

func TestAliases(t *testing.T) {
	h := newHouse(t, "one.example\n", "two.example\nclaimed.example.net\n")
	lead := `template IN A one.example {
 answer "{{ .Name }} 60 IN CNAME Cdn.Example.net."
 answer "Cdn.Example.net. 60 IN A 30.0.0.1"
 }
 template IN HTTPS one.example {
 answer "{{ .Name }} 60 IN HTTPS 1 svc.example.net. alpn=h2"
 }
 template IN MX one.example {
 answer "{{ .Name }} 60 IN CNAME claimed.example.net."
 }`
	corefile := block("listed first {\n config CONFIG\n }", "first", lead) +
		block("listed second {\n config CONFIG\n }", "second", "") + block("", "rest", "")
	if err := h.start(corefile); err != nil {
		t.Fatal(err)
	}
	expect := func(qname, want string) {
		t.Helper()
		if got := h.ask(qname, dns.TypeTXT); got != want {
			t.Errorf("%s is answered by %s, want %s", qname, got, want)
		}
	}
	expect("cdn.example.net.", "rest")
	h.ask("www.one.example.", dns.TypeA)
	h.ask("www.one.example.", dns.TypeHTTPS)
	h.ask("www.one.example.", dns.TypeMX)
	expect("cdn.example.net.", "first")
	expect("CDN.example.net.", "first")
	expect("svc.example.net.", "first")
	expect("www.cdn.example.net.", "rest")
	expect("claimed.example.net.", "second") // weaker than an entry on another list

	// A reload builds every plugin again.
	inst, err := h.inst.Restart(h.input(corefile))
	if err != nil {
		t.Fatal(err)
	}
	h.inst = inst
	expect("cdn.example.net.", "first")

	// A restart reads the journal.
	h.inst.ShutdownCallbacks()
	h.inst.Stop()
	if err := h.start(corefile); err != nil {
		t.Fatal(err)
	}
	expect("cdn.example.net.", "first")
}

func TestSetup(t *testing.T) {
	rest := block("", "rest", "")
	tests := []struct {
		name, corefile, want string
	}{
		{"no list", block("listed", "x", "") + rest, "no list: want the names of one or more lists"},
		{"twice", block("listed first first {\n config CONFIG\n }", "x", "") + rest, "duplicate list first"},
		{"unknown", block("listed frist {\n config CONFIG\n }", "x", "") + rest, `plugin/listed: Corefile:3 - Error during parsing: unknown list "frist": did you mean "first"?`},
		{"property", block("listed first {\n confg x\n }", "x", "") + rest, `unknown property "confg": want config`},
		{"two directives", block("listed first {\n config CONFIG\n }\n listed second {\n config CONFIG\n }", "x", "") + rest, "plugin/listed"},
		{"no file", block("listed first {\n config /nonexistent/gateway.yaml\n }", "x", "") + rest, "/nonexistent/gateway.yaml"},
		{"unfiltered first", rest + block("listed first {\n config CONFIG\n }", "x", ""), "move the one without to the end"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := newHouse(t, "one.example\n", "two.example\n")
			err := h.start(tc.corefile)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestEmptyListStopsTheStart(t *testing.T) {
	h := newHouse(t, "!!!\n", "two.example\n")
	err := h.start(block("listed first {\n config CONFIG\n }", "x", "") + block("", "rest", ""))
	if err == nil || !strings.Contains(err.Error(), "first.txt") {
		t.Errorf("got %v", err)
	}
}

// rewrite makes another name of the client's below, and may or may not have the answer
// changed back: what belongs to it is passed on in each case, and what it leads to is an
// alias.
func TestRewrittenNames(t *testing.T) {
	for _, rule := range []string{
		"rewrite name exact www.one.example www.real.example",
		"rewrite name suffix one.example real.example",
		"rewrite name suffix one.example real.example answer auto",
		"rewrite name regex (.*)\\.one\\.example {1}.real.example",
		"rewrite name regex (.*)\\.one\\.example {1}.real.example answer name (.*)\\.real\\.example {1}.one.example",
	} {
		t.Run(rule, func(t *testing.T) {
			h := newHouse(t, "one.example\n", "two.example\n")
			lead := rule + "\n template IN A real.example {\n answer \"{{ .Name }} 60 IN CNAME cdn.example.net.\"\n answer \"cdn.example.net. 60 IN A 30.0.0.1\"\n answer \"other.example. 60 IN A 30.0.0.2\"\n }"
			if err := h.start(block("listed first {\n config CONFIG\n }", "first", lead) + block("listed second {\n config CONFIG\n }", "second", "") + block("", "rest", "")); err != nil {
				t.Fatal(err)
			}
			r, err := dns.Exchange(new(dns.Msg).SetQuestion("www.one.example.", dns.TypeA), h.inst.Servers()[0].LocalAddr().String())
			if err != nil || len(r.Answer) != 2 || strings.Contains(r.String(), "other.example") {
				t.Errorf("%v\n%v", err, r)
			}
			if got := h.ask("cdn.example.net.", dns.TypeTXT); got != "first" {
				t.Errorf("the alias is answered by %s", got)
			}
		})
	}
}
