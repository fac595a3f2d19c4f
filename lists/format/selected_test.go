package format

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

// readSelected writes a file and reads a selection of it.
func readSelected(t *testing.T, name, text, selector string) (got string, r Summary, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	write(t, file, text)
	if selector != "" {
		file += ":" + selector
	}
	return readFile(file)
}

func readFile(file string) (got string, r Summary, err error) {
	var all []string
	s := &Sink{
		Entry:  func(e entry.Entry) { all = append(all, show(e)) },
		Prefix: func(p netip.Prefix) { all = append(all, p.String()) },
	}
	err = ParseSource(file).Read("", s)
	return strings.Join(all, " "), s.Summary, err
}

func TestGeosite(t *testing.T) {
	for _, tt := range []struct{ selector, want string }{
		{"netflix", `suffix:netflix.com full:only.netflix.net keyword:nflx regexp:^fast\d\.com$`},
		{"NetFlix", `suffix:netflix.com full:only.netflix.net keyword:nflx regexp:^fast\d\.com$`},
		{"google", "suffix:google.com suffix:ads.google.com full:a.google.cn"},
		{"google@ads", "suffix:ads.google.com full:a.google.cn"},
		{"google@ads@cn", "full:a.google.cn"},
		{"google@ads@-cn", "suffix:ads.google.com"},
		{"google@!ads", "suffix:google.com"},
		{"geo@!cn", "suffix:in.test"}, // an attribute whose name begins with '!'
		{"geo@-!cn", "suffix:out.test"},
	} {
		got, r, err := readSelected(t, "geosite.dat", rulesettest.Geosite(), tt.selector)
		if err != nil || got != tt.want || r.Format != "geosite" {
			t.Errorf("%s: %s, %+v, %v; want %s", tt.selector, got, r, err, tt.want)
		}
	}
	for _, tt := range []struct{ selector, want string }{
		{"netflx", `geosite: category "netflx": unknown; the nearest of 3 is "netflix"`},
		{"something-else", `geosite: category "something-else": unknown; there are 3 others`},
		{"", "it holds many categories: name one after a colon, FILE:CATEGORY"},
	} {
		if _, _, err := readSelected(t, "geosite.dat", rulesettest.Geosite(), tt.selector); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.selector, err, tt.want)
		}
	}
	_, r, _ := readSelected(t, "geosite.dat", rulesettest.Geosite(), "google")
	if r.Skipped != 2 || r.Samples[0].Reason != reasonRuleType || r.Samples[1].Reason != entry.ReasonLabel || r.Samples[1].Line != 5 {
		t.Errorf("skipped: %+v", r)
	}
}

// Every damage to a dat file is an error, or leaves a all number of rules.
func TestGeositeCut(t *testing.T) {
	all := rulesettest.Geosite()
	for n := 1; n < len(all); n++ {
		_, _, err := readSelected(t, "geosite.dat", all[:n], "geo")
		if err == nil {
			t.Fatalf("cut after %d of %d bytes: no error", n, len(all))
		}
	}
}

func TestGeoIP(t *testing.T) {
	text := string(rulesettest.Dat("CN", rulesettest.CIDR("192.0.2.0/24"), rulesettest.CIDR("2001:db8::/32"))) + string(rulesettest.Dat("JP", rulesettest.CIDR("198.51.100.0/24")))
	got, r, err := readSelected(t, "geoip.dat", text, "cn")
	if err != nil || got != "192.0.2.0/24 2001:db8::/32" || r.Format != "geoip" || r.Prefixes != 2 {
		t.Errorf("%s, %+v, %v", got, r, err)
	}
	if _, _, err := readSelected(t, "geoip.dat", text, "jx"); err == nil || err.Error() != `geoip: category "jx": unknown; the nearest of 2 is "jp"` {
		t.Errorf("jx: %v", err)
	}
}

func TestDLC(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"all":       "include:one\ninclude:two @ads\ninclude:two @-ads @-cn # again\n",
		"one":       "one.test # c\nfull:a.one.test\nkeyword:oneword\nregexp:^one\\d$\ninclude:three\n",
		"two":       "ads.two.test @ads\ncn.two.test @cn\ntwo.test\nbad rule here\n",
		"three":     "three.test &elsewhere @x\ninclude:four\n",
		"four":      "domain:four.test\n",
		"loop":      "loop.test\ninclude:loop2\n",
		"loop2":     "include:loop\n",
		"elsewhere": "elsewhere.test\n",
		"lost":      "include:nowhere\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, tt := range []struct{ selector, want string }{
		{"all", `suffix:one.test full:a.one.test keyword:oneword regexp:^one\d$ suffix:three.test suffix:four.test suffix:ads.two.test suffix:two.test`},
		{"ALL", `suffix:one.test full:a.one.test keyword:oneword regexp:^one\d$ suffix:three.test suffix:four.test suffix:ads.two.test suffix:two.test`},
		{"two@ads", "suffix:ads.two.test"},
		{"two@!ads", "suffix:cn.two.test suffix:two.test"},
		{"elsewhere", "suffix:elsewhere.test suffix:three.test"},
		{"elsewhere@x", "suffix:three.test"},
	} {
		got, r, err := readFile(dir + ":" + tt.selector)
		if err != nil || got != tt.want || r.Format != "dlc" {
			t.Errorf("%s: %s, %+v, %v\nwant %s", tt.selector, got, r, err, tt.want)
		}
	}
	for _, tt := range []struct{ selector, want string }{
		{"loop", "include loop: loop includes loop2 includes loop"},
		{"tvo", `category "tvo": unknown; the nearest of 9 is "two"`},
		{"lost", "lost includes nowhere: open " + filepath.Join(dir, "nowhere") + ": no such file or directory"},
	} {
		if _, _, err := readFile(dir + ":" + tt.selector); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.selector, err, tt.want)
		}
	}
	// A file of the folder named by itself, and a checkout with a folder data.
	if got, _, err := readFile(filepath.Join(dir, "three")); err != nil || got != "suffix:three.test suffix:four.test" {
		t.Errorf("a file by itself: %s, %v", got, err)
	}
	up := t.TempDir()
	if err := os.Rename(dir, filepath.Join(up, "data")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := readFile(up + ":four"); err != nil || got != "suffix:four.test" {
		t.Errorf("a checkout: %s, %v", got, err)
	}
}

func TestDLCDeep(t *testing.T) {
	dir := t.TempDir()
	name := func(i int) string { return "f" + strings.Repeat("x", i) }
	for i := range 100 {
		write(t, filepath.Join(dir, name(i)), "include:"+name(i+1)+"\ninclude:"+name(i+1)+"\n") // 2^100 ways
	}
	write(t, filepath.Join(dir, name(100)), "deep.test\n")
	if _, _, err := readFile(dir + ":f"); err == nil || !strings.HasSuffix(err.Error(), "more than 64 files deep") {
		t.Errorf("100 deep: %v", err)
	}
	if got, _, err := readFile(dir + ":" + name(50)); err != nil || got != "suffix:deep.test" {
		t.Errorf("50 deep: %s, %v", got, err)
	}
}

func TestParseSource(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.dat"), "x")
	write(t, filepath.Join(dir, "b:c"), "x")
	if err := os.Mkdir(filepath.Join(dir, "dlc"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := dir + "/"
	for _, tt := range []struct {
		file string
		want Source
	}{
		{d + "a.dat", Source{Path: d + "a.dat"}},
		{d + "a.dat:cn@!ads", Source{Path: d + "a.dat", Selector: "cn@!ads"}},
		{d + "b:c", Source{Path: d + "b:c"}}, // a file that really has the name
		{d + "dlc:Net", Source{Path: d + "dlc/net", Selector: "Net", Dir: d + "dlc"}},
		{d + "dlc:net@x", Source{Path: d + "dlc/net", Selector: "net@x", Dir: d + "dlc"}},
		{d + "gone.dat:cn", Source{Path: d + "gone.dat", Selector: "cn"}},
		{"C:cn", Source{Path: "C:cn"}},
		{d + "l:cn", Source{Path: d + "l", Selector: "cn"}},
		{d + ":cn", Source{Path: d + ":cn"}},
		{d + "a.dat:../x", Source{Path: d + "a.dat:../x"}},
		{d + "a.dat:..", Source{Path: d + "a.dat:.."}},
		{d + "a.dat:", Source{Path: d + "a.dat:"}},
		{d + "x:y/a.dat", Source{Path: d + "x:y/a.dat"}},
	} {
		if got := ParseSource(tt.file); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.file, got, tt.want)
		}
	}
	_, _, err := readFile(d + "a.dat:cn")
	if want := `"cn" after the colon: a file of format plain has no parts to choose from`; err == nil || err.Error() != want {
		t.Errorf("a selection of a plain list: %v", err)
	}
}

func TestBadfilter(t *testing.T) {
	text := "||a.example^\n||b.example^$important\n||c.example^\n||a.example^$badfilter\n||b.example^$important,badfilter\n@@||c.example^$badfilter\n"
	got, r, err := readSelected(t, "adblock.txt", text, "")
	if err != nil || got != "suffix:c.example" || r.Skipped != 0 || r.Format != "adblock" {
		t.Errorf("%s, %+v, %v", got, r, err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if again, _, err := readSelected(t, "adblock.txt.gz", packed.String(), ""); err != nil || again != got {
		t.Errorf("compressed: %s, %v", again, err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
