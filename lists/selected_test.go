package lists

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
)

// readSelected writes a file and reads a selection of it.
func readSelected(t *testing.T, name, text, selector string) (got string, r Report, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	write(t, file, text)
	if selector != "" {
		file += ":" + selector
	}
	return readFile(gateway.List{Name: "l", File: file})
}

func readFile(l gateway.List) (got string, r Report, err error) {
	var all []string
	r = Report{Name: l.Name, File: l.File}
	s := &sink{
		report: &r,
		add:    func(e entry.Entry) { all = append(all, show(e)) },
		prefix: func(p netip.Prefix) { all = append(all, p.String()) },
	}
	err = sourceOf(l.File).read(l, nil, s)
	return strings.Join(all, " "), r, err
}

// site encodes a rule of geosite.dat: type, name, attributes.
func site(kind uint64, name string, attributes ...string) []byte {
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, kind)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendString(b, name)
	for _, a := range attributes {
		attr := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), a)
		attr = protowire.AppendVarint(protowire.AppendTag(attr, 2, protowire.VarintType), 1)
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), attr)
	}
	return b
}

// dat encodes a category of geosite.dat or geoip.dat.
func dat(category string, rules ...[]byte) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), category)
	for _, r := range rules {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), r)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
}

func cidr(p string) []byte {
	prefix := netip.MustParsePrefix(p)
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), prefix.Addr().AsSlice())
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(prefix.Bits()))
}

func sampleDat() string {
	return string(dat("NETFLIX", site(2, "netflix.com"), site(3, "only.netflix.net"), site(0, "nflx"), site(1, `^fast\d\.com$`))) +
		string(dat("GOOGLE", site(2, "google.com"), site(2, "ads.google.com", "ads"), site(3, "a.google.cn", "ads", "cn"), site(9, "x.test"), site(2, "b..d"))) +
		string(dat("GEO", site(2, "in.test", "!cn"), site(2, "out.test")))
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
		got, r, err := readSelected(t, "geosite.dat", sampleDat(), tt.selector)
		if err != nil || got != tt.want || r.Format != "geosite" {
			t.Errorf("%s: %s, %+v, %v; want %s", tt.selector, got, r, err, tt.want)
		}
	}
	for _, tt := range []struct{ selector, want string }{
		{"netflx", `geosite: category "netflx": unknown; the nearest of 3 is "netflix"`},
		{"something-else", `geosite: category "something-else": unknown; there are 3 others`},
		{"", "it holds many categories: name one behind a colon, FILE:CATEGORY"},
	} {
		if _, _, err := readSelected(t, "geosite.dat", sampleDat(), tt.selector); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.selector, err, tt.want)
		}
	}
	_, r, _ := readSelected(t, "geosite.dat", sampleDat(), "google")
	if r.Skipped != 2 || r.Samples[0].Reason != reasonRuleType || r.Samples[1].Reason != entry.ReasonLabel || r.Samples[1].Line != 5 {
		t.Errorf("skipped: %+v", r)
	}
}

// Every damage to a dat file is an error, or leaves a whole number of rules.
func TestGeositeCut(t *testing.T) {
	whole := sampleDat()
	for n := 1; n < len(whole); n++ {
		_, _, err := readSelected(t, "geosite.dat", whole[:n], "geo")
		if err == nil {
			t.Fatalf("cut after %d of %d bytes: no error", n, len(whole))
		}
	}
}

func TestGeoIP(t *testing.T) {
	text := string(dat("CN", cidr("192.0.2.0/24"), cidr("2001:db8::/32"))) + string(dat("JP", cidr("198.51.100.0/24")))
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
		got, r, err := readFile(gateway.List{Name: "l", File: dir + ":" + tt.selector})
		if err != nil || got != tt.want || r.Format != "dlc" {
			t.Errorf("%s: %s, %+v, %v\nwant %s", tt.selector, got, r, err, tt.want)
		}
	}
	for _, tt := range []struct{ selector, want string }{
		{"loop", "include loop: loop includes loop2 includes loop"},
		{"tvo", `category "tvo": unknown; the nearest of 9 is "two"`},
		{"lost", "lost includes nowhere: open " + filepath.Join(dir, "nowhere") + ": no such file or directory"},
	} {
		if _, _, err := readFile(gateway.List{Name: "l", File: dir + ":" + tt.selector}); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.selector, err, tt.want)
		}
	}
	// A file of the folder named by itself, and a checkout with a folder data.
	if got, _, err := readFile(gateway.List{Name: "l", File: filepath.Join(dir, "three")}); err != nil || got != "suffix:three.test suffix:four.test" {
		t.Errorf("a file by itself: %s, %v", got, err)
	}
	up := t.TempDir()
	if err := os.Rename(dir, filepath.Join(up, "data")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := readFile(gateway.List{Name: "l", File: up + ":four"}); err != nil || got != "suffix:four.test" {
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
	if _, _, err := readFile(gateway.List{Name: "l", File: dir + ":f"}); err == nil || !strings.HasSuffix(err.Error(), "more than 64 files deep") {
		t.Errorf("100 deep: %v", err)
	}
	if got, _, err := readFile(gateway.List{Name: "l", File: dir + ":" + name(50)}); err != nil || got != "suffix:deep.test" {
		t.Errorf("50 deep: %s, %v", got, err)
	}
}

func TestSourceOf(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.dat"), "x")
	write(t, filepath.Join(dir, "b:c"), "x")
	if err := os.Mkdir(filepath.Join(dir, "dlc"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := dir + "/"
	for _, tt := range []struct {
		file string
		want source
	}{
		{d + "a.dat", source{path: d + "a.dat"}},
		{d + "a.dat:cn@!ads", source{path: d + "a.dat", selector: "cn@!ads"}},
		{d + "b:c", source{path: d + "b:c"}}, // a file that really has the name
		{d + "dlc:Net", source{path: d + "dlc/net", selector: "Net", folder: d + "dlc"}},
		{d + "dlc:net@x", source{path: d + "dlc/net", selector: "net@x", folder: d + "dlc"}},
		{d + "gone.dat:cn", source{path: d + "gone.dat", selector: "cn"}},
		{"C:cn", source{path: "C:cn"}},
		{d + "l:cn", source{path: d + "l", selector: "cn"}},
		{d + ":cn", source{path: d + ":cn"}},
		{d + "a.dat:../x", source{path: d + "a.dat:../x"}},
		{d + "a.dat:..", source{path: d + "a.dat:.."}},
		{d + "a.dat:", source{path: d + "a.dat:"}},
		{d + "x:y/a.dat", source{path: d + "x:y/a.dat"}},
	} {
		if got := sourceOf(tt.file); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.file, got, tt.want)
		}
	}
	_, _, err := readFile(gateway.List{Name: "l", File: d + "a.dat:cn"})
	if want := `"cn" behind the colon: a file of format plain has nothing to choose from`; err == nil || err.Error() != want {
		t.Errorf("a selection of a plain list: %v", err)
	}
}

// A list that is a selection is rebuilt only when the selection changes, and its last
// good copy is the selection.
func TestSelectionIsKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "geosite.dat")
	copies := filepath.Join(dir, "copies")
	write(t, file, sampleDat())
	cfg := []gateway.List{{Name: "n", File: file + ":netflix"}}
	l, errs := Open(cfg, Options{LastGood: copies})
	wantErrors(t, errs)
	wantHeld(t, l, "www.netflix.com", "n")
	wantHeld(t, l, "google.com", "")
	copied, err := os.ReadFile(filepath.Join(copies, "n.list"))
	if want := "domain:netflix.com\nfull:only.netflix.net\nkeyword:nflx\nregexp:^fast\\d\\.com$\n"; err != nil || string(copied) != want {
		t.Fatalf("copy: %q, %v", copied, err)
	}
	write(t, file, sampleDat()+string(dat("MORE", site(2, "more.test"))))
	if changed, errs := l.Reload(); changed || len(errs) > 0 {
		t.Errorf("another category changed: %v, %v", changed, errs)
	}
	write(t, file, string(dat("NETFLIX", site(2, "new.test"))))
	if changed, errs := l.Reload(); !changed || len(errs) > 0 {
		t.Errorf("the category changed: %v, %v", changed, errs)
	}
	wantHeld(t, l, "new.test", "n")
	write(t, file, "\x0a\x05")
	l, errs = Open(cfg, Options{LastGood: copies})
	if len(errs) != 1 {
		t.Errorf("a damaged file: %v", errs)
	}
	wantHeld(t, l, "new.test", "n")
	if r := l.Reports()[0]; !r.LastGood || r.File != cfg[0].File {
		t.Errorf("report: %+v", r)
	}
}

func TestBadfilter(t *testing.T) {
	text := "||a.example^\n||b.example^$important\n||c.example^\n||a.example^$badfilter\n||b.example^$important,badfilter\n@@||c.example^$badfilter\n"
	got, r, err := readSelected(t, "adblock.txt", text, "")
	if err != nil || got != "suffix:c.example" || r.Skipped != 0 || r.Format != "adblock" {
		t.Errorf("%s, %+v, %v", got, r, err)
	}
	var packed bytes.Buffer
	gzipTo(t, &packed, text)
	if again, _, err := readSelected(t, "adblock.txt.gz", packed.String(), ""); err != nil || again != got {
		t.Errorf("compressed: %s, %v", again, err)
	}
}
