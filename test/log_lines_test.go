package test

import (
	"encoding/json"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/test/netlab"
)

// logLine is one line of the log, whatever its format.
type logLine struct {
	level, part, message string
	attrs                map[string]any // of JSON only
}

var textLine = regexp.MustCompile(`^\[(DEBUG|INFO|WARNING|ERROR)\] ([a-z/]+): (\S.*)$`)

func parseText(t *testing.T, line string) logLine {
	m := textLine.FindStringSubmatch(line)
	if m == nil {
		t.Errorf("not [LEVEL] part: message: %s", line)
		return logLine{}
	}
	return logLine{level: m[1], part: m[2], message: m[3]}
}

func parseJSON(t *testing.T, line string) logLine {
	var l logLine
	if err := json.Unmarshal([]byte(line), &l.attrs); err != nil {
		t.Errorf("%v: %s", err, line)
		return l
	}
	take := func(key string) string {
		v, _ := l.attrs[key].(string)
		if v == "" || strings.Count(line, `"`+key+`":`) != 1 {
			t.Errorf("want one %s: %s", key, line)
		}
		delete(l.attrs, key)
		return v
	}
	if at := take("time"); at != "" {
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			t.Error(err)
		}
	}
	l.level, l.part, l.message = take("level"), take("part"), take("msg")
	return l
}

// Every part and library of the process writes one shape of line, in both formats: level,
// part, message, and attributes as attributes.
func TestLogLines(t *testing.T) {
	t.Parallel()
	for format, parse := range map[string]func(*testing.T, string) logLine{"text": parseText, "json": parseJSON} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			g := bareGate(t, netlab.Options{GoResolvers: true})
			g.Box.WriteFiles(netlab.Setup{Plugins: "errors\nlog\n"})
			text := g.Box.Run("cat", g.Box.Dir+"/gateway.yaml")
			g.Box.Write("gateway.yaml", text+"  news:\n    url: http://127.0.0.1:9/news.txt\n")
			g.start("run", "--log-format", format)
			g.provokeLogLines()
			if out, err := g.Box.Exec(append([]string{binary, "down"}, g.Box.Flags()...)...); err != nil {
				t.Fatalf("down: %v\n%s", err, out)
			}
			g.p.Wait(10 * time.Second)

			parts := map[string]bool{}
			for line := range strings.Lines(g.p.Output()) {
				l := parse(t, strings.TrimSuffix(line, "\n"))
				parts[l.part] = true
				if _, why := l.attrs["why"]; why || strings.Contains(l.message, " why=") {
					t.Errorf("an error's attribute is error, a cause's is reason: %s", line)
				}
				if format == "json" && strings.Contains(l.message, "=") && l.part != "resolver" {
					t.Errorf("an attribute in the message: %s", line)
				}
			}
			for _, want := range []string{"nameroute", "sidecar", "dataplane", "updater", "lists", "resolver", "plugin/errors"} {
				if !parts[want] {
					t.Errorf("no line of part %s; there are %v", want, slices.Sorted(maps.Keys(parts)))
				}
			}
		})
	}
}

// provokeLogLines has each part write something.
func (g *gate) provokeLogLines() {
	g.t.Helper()
	g.resolve("www.listed.example")
	g.resolve("other.example")
	g.Box.Write("mine.txt", "listed.example\nnewly.example\n")
	g.awaitListed("newly.example")
	// A wrong Corefile, a changed one, and what CoreDNS itself says of a restart.
	text := g.Box.Run("cat", g.Box.Dir+"/Corefile")
	g.Box.Write("Corefile", strings.Replace(text, "    cache\n", "    cahce\n", 1))
	if _, err := g.Box.Exec(append([]string{binary, "reload"}, g.Box.Flags()...)...); err == nil {
		g.t.Error("a wrong Corefile is used")
	}
	g.Box.Write("Corefile", strings.Replace(text, "    cache\n", "    cache 600\n", 1))
	g.nameroute("reload")
	// The tunnel falls silent: errors of upstream.
	g.Tunnel.Silence(true)
	if r, err := g.Client.Query(new(dns.Msg).SetQuestion("silent.listed.example.", dns.TypeA), "udp"); err == nil && r.Rcode != dns.RcodeServerFailure {
		g.t.Errorf("answered through a silent tunnel: %v", r)
	}
	netlab.Eventually(g.t, 20*time.Second, func() error {
		return netlab.Check(strings.Contains(g.p.Output(), "silent.listed.example"), "nothing is logged of the query:\n%s", g.p.Output())
	})
}

// In a log call the attribute of an error is error, everywhere: that is what one searches
// and filters by.
func TestErrorAttributes(t *testing.T) {
	calls := 0
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			f, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			first, ok := map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "Log": 3, "With": 0}[f.Sel.Name]
			if !ok {
				return true
			}
			for i, arg := range call.Args {
				key, ok := arg.(*ast.BasicLit)
				if !ok || i < first || i+1 == len(call.Args) || !isError(call.Args[i+1]) {
					continue
				}
				calls++
				if key.Value != `"error"` {
					t.Errorf("%s:%d: the attribute of an error is %s, want error", s.path, s.line(key.Pos()), key.Value)
				}
			}
			return true
		})
	}
	if calls < 10 {
		t.Errorf("only %d errors are logged: the rule looks at nothing", calls)
	}
}

// isError reports whether an expression is an error by its name.
func isError(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "err" || strings.HasSuffix(e.Name, "Err")
	case *ast.SelectorExpr:
		return e.Sel.Name == "Err"
	}
	return false
}
