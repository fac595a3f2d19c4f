package corecheck

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/corefile/plugins"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/plugin/pkg/instance"
)

func TestMain(m *testing.M) {
	if err := plugins.Register(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func parsed(t *testing.T, yaml string) *gateway.Config {
	t.Helper()
	cfg, err := config.Parse(gateway.DefaultFile, []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// problems returns what Check says about a Corefile.
func problems(t *testing.T, name, text string, cfg *gateway.Config) []string {
	t.Helper()
	x, err := corefile.Expand(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, err := range Check(x, cfg) {
		all = append(all, err.Error())
	}
	return all
}

// CoreDNS serves its default for a Corefile without a block.
func TestCorefileWithoutBlocksIsRefused(t *testing.T) {
	cfg := parsed(t, "")
	for _, text := range []string{"", "\n", "# only a comment\n", " \t"} {
		for _, c := range []*gateway.Config{cfg, nil} {
			got := problems(t, "Corefile", text, c)
			if len(got) != 1 || !strings.HasPrefix(got[0], "Corefile: no server block: want") {
				t.Errorf("%q: %v", text, got)
			}
		}
	}
	if got := problems(t, "Corefile", ".:5353 {\n upstream wan 192.0.2.53\n}\n", cfg); len(got) > 0 {
		t.Errorf("a valid one: %v", got)
	}
}

// Braces that do not match are one problem, not one for each line before them.
func TestBracesAreOneProblem(t *testing.T) {
	for text, want := range map[string]string{
		". {\n    cache\n":       "Corefile:2 - Syntax error: Unexpected token 'cache', expecting '}': a block before it is not closed: want a line with } for each {",
		". {\n    cache\n}\n}\n": "Corefile:4 - Syntax error: Unexpected token '}': no block is open: want a line with } for each {",
		". {\n    cache {\n        prefetch 1\n}\n. {\n    whoami\n}\n": "Corefile:5 - Error during parsing: Unknown directive '.'",
	} {
		if got := problems(t, "Corefile", text, nil); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What queries by sockets of its own leaks the names of a block with route.
func TestQueriesPastTheRoute(t *testing.T) {
	cfg := parsed(t, "routes:\n  vpn: {interface: tun0}\n  two: {interface: tun1}\nlists:\n  mine: {file: mine.txt}\n")
	const rest = ". {\n forward . 192.0.2.2\n}\n"
	errorAt := func(line int, directive string) string {
		return fmt.Sprintf("Corefile:%d - Error during parsing: %s would query the names of route vpn by the default route, past the route: want upstream vpn ADDRESS..., or %s in a block of its own without route", line, directive, directive)
	}
	for _, c := range []struct {
		name, text  string
		want, notes []string
	}{
		{name: "forward", text: ". {\n listed mine\n route vpn\n forward . 192.0.2.1\n}\n" + rest, want: []string{errorAt(4, "forward")}},
		{name: "of a name below only", text: ". {\n route vpn\n upstream vpn 192.0.2.1\n forward sub.example 192.0.2.1\n}\n", want: []string{errorAt(4, "forward")}},
		{name: "both", text: ". {\n listed mine\n route vpn\n upstream vpn 192.0.2.1\n grpc . 192.0.2.1\n}\n" + rest, want: []string{errorAt(5, "grpc")}},
		{name: "secondary", text: "corp.example {\n route vpn\n secondary {\n  transfer from 192.0.2.1\n }\n}\n", want: []string{errorAt(3, "secondary")}},
		{name: "in a snippet", text: "(up) {\n forward . 192.0.2.1\n}\n. {\n listed mine\n route vpn\n import up\n}\n. {\n import up\n}\n", want: []string{errorAt(2, "forward")}},
		{name: "without a list", text: "example.org {\n route vpn\n forward . 192.0.2.1\n}\n", want: []string{errorAt(3, "forward")}},
		{name: "in a block without route", text: ". {\n listed mine\n forward . 192.0.2.1\n}\n" + rest},
		{name: "local answers", text: ". {\n listed mine\n route vpn\n hosts {\n  30.0.0.1 a.example\n  fallthrough\n }\n template IN A b.example {\n  answer \"{{ .Name }} 60 IN A 30.0.0.2\"\n }\n}\n" + rest},
		{name: "no upstream", text: ". {\n listed mine\n route vpn\n}\n" + rest},
		{name: "another route's", text: ". {\n listed mine\n route vpn\n upstream two 192.0.2.1\n}\n" + rest},
		{
			name: "the WAN's", text: ". {\n listed mine\n route vpn\n upstream wan 192.0.2.1\n}\n" + rest,
			notes: []string{"Corefile:4: the names of this block are queried via the WAN, and only their addresses take route vpn: upstream vpn queries via the route"},
		},
		{
			name: "sets of another program", text: ". {\n listed mine\n route vpn {\n  set inet t a b\n }\n forward . 192.0.2.1\n}\n" + rest,
			notes: []string{"Corefile:6: forward queries by the default route, unless the rules that use the sets of route vpn mark its packets, too"},
		},
		{
			name: "dnstap", text: ". {\n listed mine\n route vpn\n dnstap /run/tap.sock\n dnstap tcp://127.0.0.1:6000\n dnstap tcp://192.0.2.1:6000 full\n}\n" + rest,
			notes: []string{"Corefile:6: dnstap sends the names that clients query of route vpn to tcp://192.0.2.1:6000 by the default route"},
		},
		{
			name: "a zone below", text: ". {\n listed mine\n route vpn\n}\n" + rest + "sub.example {\n forward . 192.0.2.1\n}\n",
			notes: []string{"zone sub.example. has blocks of its own: listed names below it are answered there"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := problems(t, "Corefile", c.text, cfg); !slices.Equal(got, c.want) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
			}
			f, err := corefile.Parse("Corefile", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := Notes(f); !slices.Equal(got, c.notes) {
				t.Errorf("notes %s\nwant  %s", strings.Join(got, "\n     "), strings.Join(c.notes, "\n     "))
			}
		})
	}
}

// A cache does not tell answers by the client's subnet: what `ecs keep` brings is for one.
func TestKeptSubnetsAreNotCached(t *testing.T) {
	cfg := parsed(t, "routes:\n  vpn: {interface: tun0}\n")
	for text, want := range map[string][]string{
		". {\n cache\n upstream vpn 192.0.2.1 {\n  ecs keep\n }\n}\n":            {"plugin/upstream: Corefile:3 - Error during parsing: " + instance.ErrKeptAndCached.Error()},
		". {\n upstream vpn 192.0.2.1 {\n  ecs keep\n }\n}\n":                    nil,
		". {\n cache\n upstream vpn 192.0.2.1 {\n  ecs 198.51.100.0/24\n }\n}\n": nil,
	} {
		if got := problems(t, "Corefile", text, cfg); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// CoreDNS stops at the first error; each block has its own reported, and all names that
// gateway.yaml lacks.
func TestEachBlockHasItsProblem(t *testing.T) {
	text := `(up) {
    upstream wna 192.0.2.1
}
a.example {
    listed mien
    route vpm
}
b.example {
    cahce
    upstream wan
}
c.example {
    import up
}
d.example {
    import up
}
e.example {
    upstream wan 192.0.2.1
}
`
	cfg := parsed(t, "routes:\n  vpn: {interface: tun0}\nlists:\n  mine: {file: mine.txt}\n")
	want := []string{
		`plugin/listed: Corefile:5 - Error during parsing: unknown list "mien": did you mean "mine"? (/etc/nameroute/gateway.yaml has: mine)`,
		`plugin/route: Corefile:6 - Error during parsing: unknown route "vpm": did you mean "vpn"? (/etc/nameroute/gateway.yaml has: wan, vpn)`,
		"Corefile:9 - Error during parsing: Unknown directive 'cahce': did you mean cache?",
		`plugin/upstream: Corefile:2 - Error during parsing: unknown route "wna": did you mean "wan"? (/etc/nameroute/gateway.yaml has: wan, vpn)`,
		"Corefile: zone a.example. on dns://*:53: names on no list would be refused: add a last block without listed on this listener",
	}
	if got := problems(t, "Corefile", text, cfg); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestProblemsNameTheImportedFile(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "one"), []byte("# a block\na.example {\n    upstream wan 192.0.2.1\n    whoamy\n}\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "two"), []byte("\nupstream wan 192.0.2.256\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	got := problems(t, filepath.Join(dir, "Corefile"), "import one\n. {\n    import two\n}\n", parsed(t, ""))
	want := []string{"one:4 - Error during parsing: Unknown directive 'whoamy': did you mean whoami?", "two:2 - Error during parsing: address 192.0.2.256: not an IP address"}
	if len(got) != 2 || !strings.Contains(got[0], want[0]) || !strings.Contains(got[1], want[1]) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDescribeNamesWhatABlockDoes(t *testing.T) {
	f, err := corefile.Parse("Corefile", []byte(". tls://. {\n listed a b {\n  config x\n }\n route vpn\n cache\n upstream vpn 192.0.2.1\n}\nlan {\n forward . 192.0.2.2\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{". tls://., listed a b, route vpn, upstream vpn 192.0.2.1", "lan, forward . 192.0.2.2"}
	if got := Describe(f); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a directive could not read to its end is told with its line, before anything reads it:
// a start and a reload would wait for it.
func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "right"), []byte("192.0.2.1 a\n"), 0o600), os.WriteFile(filepath.Join(dir, "huge"), nil, 0o600),
		os.Truncate(filepath.Join(dir, "huge"), maxFile+1), os.Mkdir(filepath.Join(dir, "zones"), 0o700),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), syscall.Mkfifo(filepath.Join(dir, "zones", "db.example.org"), 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg := parsed(t, "")
	const pipe = "is a pipe, which waits for a writer: want a regular file"
	for _, c := range []struct{ directive, file, why string }{
		{"hosts DIR/pipe", "pipe", pipe},
		{"hosts /dev/zero", "", "/dev/zero is a device: want a regular file"},
		{"hosts DIR/huge", "huge", "is larger than 64 MiB"},
		{"file DIR/pipe example.org", "pipe", pipe},
		{"root DIR\n    file pipe example.org", "pipe", pipe},
		{"tls DIR/pipe DIR/right", "pipe", pipe},
		{"dnssec {\n  key file DIR/pipe\n }", "pipe", pipe},
		{"forward . tls://192.0.2.1 {\n  tls DIR/right DIR/pipe\n }", "pipe", pipe},
		{"loadbalance weighted_round_robin DIR/pipe", "pipe", pipe},
		{"auto example.org {\n  directory DIR/zones\n }", "zones/db.example.org", pipe},
		{"hosts DIR/right", "", ""}, {"hosts /dev/null", "", ""}, {"hosts DIR/none", "", ""},
	} {
		text := "a.example {\n    DIRECTIVE\n}\nb.example {\n    whoami\n}\n"
		text = strings.ReplaceAll(strings.Replace(text, "DIRECTIVE", c.directive, 1), "DIR", dir)
		got := problems(t, "Corefile", text, cfg)
		switch {
		case c.why == "" && len(got) > 0:
			t.Errorf("%s: %q", c.directive, got)
		case c.why != "" && (len(got) != 1 || !strings.HasPrefix(got[0], "Corefile:") || !strings.Contains(got[0], c.why) || !strings.Contains(got[0], filepath.Join(dir, c.file)) && c.file != ""):
			t.Errorf("%s: %q, want %s", c.directive, got, c.why)
		}
	}
}
