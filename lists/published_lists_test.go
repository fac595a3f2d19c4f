package lists

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/format"
	"github.com/nameroute/nameroute/lists/index"
)

// realList returns a list as its publisher ships it. It skips the test if there is none.
func realList(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("NAMEROUTE_LISTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "lists")
	}
	file, err := filepath.Abs(filepath.Join(dir, name))
	if err == nil {
		_, err = os.Stat(file)
	}
	if err != nil {
		t.Skipf("no real lists: %v", err)
	}
	return file
}

// grep returns the lines of a file that match an expression: an independent count.
func grep(text []byte, expr string) []string {
	re := regexp.MustCompile(expr)
	var found []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); re.MatchString(line) {
			found = append(found, line)
		}
	}
	return found
}

func openReal(t testing.TB, names ...string) (*Library, []Report) {
	t.Helper()
	var cfg []gateway.List
	for _, n := range names {
		name, _, _ := strings.Cut(n, ".")
		cfg = append(cfg, gateway.List{Name: name, File: realList(t, n)})
	}
	l, errs := Open(cfg, Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return l, l.Reports()
}

func mustAndMustNot(t *testing.T, ix *index.Index, list string, must, mustNot []string) {
	t.Helper()
	s, err := ix.Selection(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range must {
		if !ix.Match(name).Listed(s) {
			t.Errorf("%s: does not hold %s", list, name)
		}
	}
	for _, name := range mustNot {
		if ix.Match(name).Listed(s) {
			t.Errorf("%s: holds %s", list, name)
		}
	}
}

func TestRealGFWList(t *testing.T) {
	packed, err := os.ReadFile(realList(t, "gfwlist.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(string(bytes.ReplaceAll(packed, []byte("\n"), nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, reports := openReal(t, "gfwlist.txt")
	r := reports[0]
	rules := grep(text, `^[^!\[]`)
	ip := grep(text, `^\|https?://[0-9.]+/?$`)
	wild := grep(text, `^\|(\||https?://)(\*?[a-z0-9.]+\*|\*[^.*])[^/]*`)
	wild = slices.DeleteFunc(wild, func(s string) bool { return strings.Contains(s, "/firefox/") }) // the star is in the path
	expr := grep(text, `^/.*/$`)
	except := grep(text, `^@@[^/]`)
	skipped := grep(text, `^@@/`) // a lookahead, which RE2 has not
	suffix := len(rules) - len(ip) - len(wild) - len(expr) - len(except) - len(skipped)
	want := Report{
		Name: "gfwlist", File: r.File, LoadedAt: r.LoadedAt, Summary: format.Summary{
			Format: "autoproxy", Samples: r.Samples, Lines: len(rules), Prefixes: len(ip), Regexp: len(wild) + len(expr),
			Exceptions: len(except), Skipped: len(skipped), Suffix: suffix,
		},
	}
	if got, want := r.String(), want.String(); got != want {
		t.Errorf("counts:\n got %s\nwant %s", got, want)
	}
	if r.Suffix < 4000 || len(except) < 30 || len(wild) < 5 || len(ip) != 1 || len(expr) != 1 || len(skipped) != 1 {
		t.Errorf("the independent count is off: %s", want.String())
	}
	mustAndMustNot(t, l.Index(), "gfwlist",
		[]string{"www.google.com.", "google.com", "zoominfo.com", "x.blogspot.com", "my.blogspot.jp", "www.aolnews.com",
			"cdn3.i-scmp.com", "ss7.4sqi.net", "www.dmm.com", "some.wordpress.com", "T.co", "img77.picturedip.com"},
		[]string{"www.baidu.com", "dl.google.com", "ssl.gstatic.com", "a.ssl.gstatic.com", "fonts.googleapis.com",
			"x.tokenplus.app", "example.com", "com", "aolnews.com.cn", "www.gov.tw", "4sqi.net"})
	if p := l.Prefixes("gfwlist"); len(p) != 1 || p[0].String() != "85.17.73.31/32" {
		t.Errorf("prefixes %v", p)
	}
}

func TestRealDnsmasq(t *testing.T) {
	text, err := os.ReadFile(realList(t, "accelerated-domains.china.conf"))
	if err != nil {
		t.Fatal(err)
	}
	l, reports := openReal(t, "accelerated-domains.china.conf")
	r := reports[0]
	lines := grep(text, `^server=/`)
	if r.Suffix != len(lines) || r.Entries() != len(lines) || r.Skipped != 0 || r.Format != "dnsmasq" || r.Lines != len(lines) {
		t.Errorf("%s; %d lines with grep", r.String(), len(lines))
	}
	var names []string
	for _, line := range lines {
		names = append(names, strings.Split(line, "/")[1])
	}
	mustAndMustNot(t, l.Index(), "accelerated-domains", names,
		[]string{"www.google.com", "zoom.us", "www.bing.com", "example.com", "com", "cn.example.com"})
	slices.Sort(names)
	if unique := len(slices.Compact(names)); l.Index().Len() != unique {
		t.Errorf("the index has %d names, the file %d", l.Index().Len(), unique)
	}
	for i := range names {
		names[i] = "www." + names[i]
	}
	mustAndMustNot(t, l.Index(), "accelerated-domains", names, nil)
}

func TestRealHosts(t *testing.T) {
	text, err := os.ReadFile(realList(t, "hosts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	l, reports := openReal(t, "hosts.txt")
	lines := grep(text, `^0\.0\.0\.0 [^ ]+$`)
	if r := reports[0]; r.Full != len(lines) || r.Entries() != len(lines) || r.Skipped != 0 || r.Format != "hosts" {
		t.Errorf("%s; %d lines with grep", r.String(), len(lines))
	}
	var below []string
	for _, line := range lines {
		below = append(below, "nowhere-else."+strings.Fields(line)[1])
	}
	mustAndMustNot(t, l.Index(), "hosts", []string{"01.creativecdn.com", "0.code.cotsta.ru"}, append(below, "cotsta.ru", "localhost"))
}

// TestRealTogether has all lists in one index.
func TestRealTogether(t *testing.T) {
	l, _ := openReal(t, "gfwlist.txt", "accelerated-domains.china.conf", "hosts.txt")
	for name, want := range map[string]string{
		"www.google.com.":    "gfwlist",
		"www.baidu.com.":     "accelerated-domains",
		"01.creativecdn.com": "hosts",
		"dl.google.com":      "", // an exception of gfwlist
		"www.example.com":    "",
	} {
		if got := which(l.Index(), name); got != want {
			t.Errorf("%s: held by %q, want %q", name, got, want)
		}
	}
}

// BenchmarkMatchReal looks names up in three real lists.
func BenchmarkMatchReal(b *testing.B) {
	before := heap()
	l, reports := openReal(b, "gfwlist.txt", "accelerated-domains.china.conf", "hosts.txt")
	rules := 0
	for _, r := range reports {
		rules += r.Entries()
	}
	bytes := float64(heap()-before) / float64(rules)
	s, err := l.Index().Selection("gfwlist")
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct {
		name string
		want bool
	}{{"www.google.com.", true}, {"www.baidu.com.", false}, {"api.service.example.com.", false}} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if l.Index().Match(q.name).Listed(s) != q.want {
					b.Fatalf("listed %v", !q.want)
				}
			}
			b.ReportMetric(bytes, "B/rule")
		})
	}
}

// heap returns what the program holds after a collection, in bytes.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
