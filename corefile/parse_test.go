package corefile

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coredns/caddy/caddyfile"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// at is a position in the Corefile of a test.
func at(line int) Position { return Position{"Corefile", line} }

func dns(zones ...string) []Zone {
	var all []Zone
	for _, z := range zones {
		all = append(all, Zone{z, "dns", "53"})
	}
	return all
}

func TestParseReadsBlocks(t *testing.T) {
	t.Setenv("PARSE_TEST", "vpn")
	for _, c := range []struct {
		name, text string
		want       []Block
	}{
		{"nothing", "# a comment\n", nil},
		{
			"the quick start", ". {\n    listed gfw mine\n    route vpn\n    cache\n    upstream vpn tls://9.9.9.9%dns.quad9.net 192.0.2.1\n}\n. {\n    upstream wan\n}\n",
			[]Block{
				{
					Position: at(1), Keys: []string{"."}, Zones: dns("."), Hosts: []string{""},
					Listed: &Listed{at(2), []string{"gfw", "mine"}, ""}, Route: &Route{at(3), "vpn", "", false},
					Upstream: &Upstream{at(5), "vpn", []string{"tls://9.9.9.9%dns.quad9.net", "192.0.2.1"}, "", nil},
				},
				{Position: at(7), Keys: []string{"."}, Zones: dns("."), Hosts: []string{""}, Upstream: &Upstream{at(8), "wan", nil, "", nil}},
			},
		},
		{
			"config of each plugin",
			". {\n listed a {\n  config /etc/a.yaml\n }\n route vpn { # here\n  set inet t vpn4 vpn6\n  config b.yaml\n }\n upstream vpn {\n  timeout 1s\n  config c.yaml\n }\n}\n",
			[]Block{{
				Position: at(1), Keys: []string{"."}, Zones: dns("."), Hosts: []string{""},
				Listed: &Listed{at(2), []string{"a"}, "/etc/a.yaml"}, Route: &Route{at(5), "vpn", "b.yaml", true}, Upstream: &Upstream{at(9), "vpn", nil, "c.yaml", []Property{{"timeout", []string{"1s"}}, {"config", []string{"c.yaml"}}}},
			}},
		},
		{
			"keys, transports and ports", "Example.ORG, tls://.,\nquic://b.:1853 {\n bind 192.0.2.1 br-lan {\n  except 192.0.2.9\n }\n bind ::1\n view v {\n  expr true\n }\n}\n",
			[]Block{{
				Position: at(1), Keys: []string{"Example.ORG", "tls://.", "quic://b.:1853"},
				Zones: []Zone{{"example.org.", "dns", "53"}, {".", "tls", "853"}, {"b.", "quic", "1853"}},
				Hosts: []string{"192.0.2.1", "br-lan", "::1"}, Except: []string{"192.0.2.9"},
				View: &Directive{Position: at(7), Name: "view", Args: []string{"v"}, Properties: []Property{{"expr", []string{"true"}}}},
			}},
		},
		{
			"a reverse network is several zones", "10.1.0.0/15:5353 {\n}\n",
			[]Block{{Position: at(1), Keys: []string{"10.1.0.0/15:5353"}, Zones: []Zone{{"0.10.in-addr.arpa.", "dns", "5353"}, {"1.10.in-addr.arpa.", "dns", "5353"}}, Hosts: []string{""}}},
		},
		{
			"no braces, and a variable", "\nlan\nroute {$PARSE_TEST}\n",
			[]Block{{Position: at(2), Keys: []string{"lan"}, Zones: dns("lan."), Hosts: []string{""}, Route: &Route{at(3), "vpn", "", false}}},
		},
		{
			"a snippet", "(common) {\n upstream wan\n}\n. {\n import common\n}\n",
			[]Block{{Position: at(4), Keys: []string{"."}, Zones: dns("."), Hosts: []string{""}, Upstream: &Upstream{at(2), "wan", nil, "", nil}}},
		},
		{
			"a block out of a snippet has the place of its first directive", "(all) {\n . {\n  upstream wan\n }\n}\nimport all\n",
			[]Block{{Position: at(3), Keys: []string{"."}, Zones: dns("."), Hosts: []string{""}, Upstream: &Upstream{at(3), "wan", nil, "", nil}}},
		},
		{
			"a word in quotes", ". {\n listed \"a\nb\" c\n route vpn\n}\n",
			[]Block{{Position: at(1), Keys: []string{"."}, Zones: dns("."), Hosts: []string{""}, Listed: &Listed{at(2), []string{"a\nb", "c"}, ""}, Route: &Route{at(4), "vpn", "", false}}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse("Corefile", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, f.Blocks, cmpopts.IgnoreFields(Block{}, "Directives"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestParseKeepsEveryDirective(t *testing.T) {
	f, err := Parse("Corefile", []byte(". {\n log\n cache {\n  prefetch 1 { deep }\n }\n rewrite a b\n rewrite c d\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Directive{
		{at(2), "log", nil, nil},
		{at(3), "cache", nil, []Property{{"prefetch", []string{"1"}}}},
		{at(6), "rewrite", []string{"a", "b"}, nil},
		{at(7), "rewrite", []string{"c", "d"}, nil},
	}
	if diff := cmp.Diff(want, f.Blocks[0].Directives); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPositionsAreThoseOfImportedFiles(t *testing.T) {
	files := map[string]string{"Corefile": "import blocks/*\n. {\n import last\n}\n", "blocks/a": "\na {\n listed x\n}\n", "last": "# the\nupstream wan\n"}
	dir := folder(t, files)
	f, err := Parse(filepath.Join(dir, "Corefile"), []byte(files["Corefile"]))
	if err != nil {
		t.Fatal(err)
	}
	have := []Position{f.Blocks[0].Position, f.Blocks[0].Listed.Position, f.Blocks[1].Position, f.Blocks[1].Upstream.Position}
	want := []Position{{filepath.Join(dir, "blocks/a"), 2}, {filepath.Join(dir, "blocks/a"), 3}, {filepath.Join(dir, "Corefile"), 2}, {filepath.Join(dir, "last"), 2}}
	if !slices.Equal(have, want) {
		t.Errorf("got  %v\nwant %v", have, want)
	}
}

func TestParseErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		". {\n cache\n":       "Corefile:2 - Syntax error: Unexpected token 'cache', expecting '}'",
		". {\n}\n{$} a: {\n}": "Corefile:3 - Error during parsing: a:: expecting data after last colon: \"a:\"",
		"import nowhere\n":    "Corefile:1 - Error during parsing: file to import not found: ",
	} {
		if _, err := Parse("Corefile", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestListsAreNamedOnce(t *testing.T) {
	f, err := Parse("Corefile", []byte(". {\n listed a b\n}\n. {\n listed b c\n}\n. {\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(f.Lists(), want) {
		t.Errorf("got %q, want %q", f.Lists(), want)
	}
}

func TestAloneLeavesOneBlock(t *testing.T) {
	text := "(s) {\n log\n}\n# one\na {\n import s\n}\nb c {\n cache\n}\nd\nlog\n"
	f, err := Parse("Corefile", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"(s) {\n log\n}\n\na {\n import s\n}\n\n\n\n\n\n",
		"(s) {\n log\n}\n\n\n\n\nb c {\n cache\n}\n\n\n",
		"(s) {\n log\n}\n\n\n\n\n\n\n\nd\nlog\n",
	} {
		alone, ok := f.Alone(i)
		if !ok || string(alone.Body) != want {
			t.Errorf("block %d: %q, want %q", i, alone.Body, want)
		}
	}
	for _, together := range []string{"a {\n} b {\n}\n", "(s) {\n a {\n }\n}\nimport s\n"} {
		f, err := Parse("Corefile", []byte(together))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := f.Alone(0); ok {
			t.Errorf("%q: its blocks cannot be told apart by lines", together)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(". {\n    listed gfw mine\n    route vpn\n    upstream vpn 192.0.2.1 {\n  config x\n }\n}\n. {\n    upstream wan\n}\n")
	f.Add("(s) {\n bind 192.0.2.1\n}\na b, tls://c:1\n10.0.0.0/9 {\n import s\n view v { x }\n}\nd\nlog \"a\n{\" }\n")
	f.Add("a {\n} b {\n}\n")
	f.Add(". tls://. https3://.:8443 {\n clients tv\n listed gfw\n route us\n upstream us quic://a.b 192.0.2.1 {\n  bootstrap 192.0.2.2\n }\n}\n. tls://. https3://.:8443 {\n upstream wan\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "/") && strings.Contains(text, "import") || strings.ContainsAny(text, "$%*?[") {
			t.Skip("it could read files or variables of this machine")
		}
		file, err := Parse("Corefile", []byte(text))
		if err != nil {
			return
		}
		raw, err := caddyfile.Parse("Corefile", strings.NewReader(text), nil)
		if err != nil || len(raw) != len(file.Blocks) {
			t.Fatalf("%d blocks, CoreDNS has %d: %v", len(file.Blocks), len(raw), err)
		}
		for i, b := range file.Blocks {
			alone, ok := file.Alone(i)
			if !ok {
				break
			}
			one, err := alone.Parse()
			if err != nil || len(one.Blocks) != 1 {
				t.Fatalf("block %d alone: %v\n%q", i, err, alone.Body)
			}
			if diff := cmp.Diff(b, one.Blocks[0]); diff != "" {
				t.Fatalf("block %d alone: -in the file +alone:\n%s", i, diff)
			}
		}
	})
}
