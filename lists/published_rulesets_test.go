package lists

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// openSelected opens a real list, or a selection of it.
func openSelected(t *testing.T, name, selector string) (*Library, Report) {
	t.Helper()
	file := realList(t, name)
	if selector != "" {
		file += ":" + selector
	}
	l, errs := Open([]gateway.List{{Name: "l", File: file}}, Options{})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return l, l.Reports()[0]
}

func readReal(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(realList(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRealAdblock(t *testing.T) {
	text := readReal(t, "adblock-light.txt")
	rules := grep(text, `^\|\|[^*/]+\^$`)
	globs := grep(text, `^\|\|.*\*.*\^$`)
	all := grep(text, `^[^!]`)
	l, r := openSelected(t, "adblock-light.txt", "")
	skipped := len(all) - len(rules) - len(globs)
	if r.Suffix+r.Regexp+r.Prefixes+r.Skipped != len(all) || r.Skipped != skipped || r.Format != "adblock" || len(rules) < 100_000 {
		t.Errorf("%s; grep: %d names of %d lines\n%v", r.String(), len(rules), len(all), r.Samples)
	}
	var must, mustNot []string
	for i := 0; i < len(rules); i += 97 {
		name := strings.Trim(rules[i], "|^")
		must = append(must, name, "x."+name)
	}
	mustAndMustNot(t, l.Index(), "l", must, append(mustNot, "example.com", "www.iana.org"))
}

func TestRealClash(t *testing.T) {
	text := readReal(t, "clash-gfw.yaml")
	suffix := grep(text, `^ *- '\+\.[^']+'$`)
	full := grep(text, `^ *- '[^+.*'][^']*'$`)
	l, r := openSelected(t, "clash-gfw.yaml", "")
	if r.Suffix != len(suffix) || r.Full != len(full) || r.Skipped != 0 || r.Lines != len(suffix)+len(full) || r.Format != "clash" || r.Suffix < 4000 {
		t.Errorf("%s; grep: %d and %d", r.String(), len(suffix), len(full))
	}
	mustAndMustNot(t, l.Index(), "l", []string{"1337x.to", "www.1337x.to"}, []string{"to", "example.com"})
	for _, name := range []string{"clash-cncidr.yaml", "clash-telegramcidr.yaml"} {
		want := grep(readReal(t, name), `^ *- '[0-9a-f.:]+/[0-9]+'$`)
		l, r := openSelected(t, name, "")
		if r.Prefixes != len(want) || r.Lines != len(want) || r.Format != "clash" {
			t.Errorf("%s; grep: %d", r.String(), len(want))
		}
		if got := l.Prefixes("l"); !slices.ContainsFunc(want, func(s string) bool { return strings.Contains(s, "'"+got[0].String()+"'") }) {
			t.Errorf("%s: first prefix %s", name, got[0])
		}
	}
}

func TestRealNFTSet(t *testing.T) {
	for _, name := range []string{"chnroute.nftset", "chnroute6.nftset"} {
		var want []netip.Prefix
		for _, line := range grep(readReal(t, name), `^add element`) {
			p := regexp.MustCompile(`\{ (\S+) \}`).FindStringSubmatch(line)
			want = append(want, netip.MustParsePrefix(p[1]))
		}
		l, r := openSelected(t, name, "")
		if !slices.Equal(l.Prefixes("l"), want) || r.Skipped != 0 || r.Format != "nftset" || len(want) < 1000 {
			t.Errorf("%s; grep: %d", r.String(), len(want))
		}
	}
}

// dlcCount expands a category as simply as it can be, for counting.
func dlcCount(t *testing.T, dir, name string, into map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		rule := strings.Fields(strings.Split(line, "#")[0] + " ")
		if len(rule) == 0 {
			continue
		}
		if other, ok := strings.CutPrefix(rule[0], "include:"); ok {
			if len(rule) > 1 {
				t.Fatalf("%s: an include with attributes, which this count cannot do", line)
			}
			dlcCount(t, dir, other, into)
			continue
		}
		if !strings.Contains(rule[0], ":") {
			rule[0] = "domain:" + rule[0]
		}
		into[rule[0]] = true
	}
}

func TestRealDLC(t *testing.T) {
	dir := realList(t, "dlc")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, e := range entries {
		want := map[string]bool{}
		if text, _ := os.ReadFile(filepath.Join(dir, e.Name())); len(grep(text, `^include:.* @`)) > 0 || missingInclude(t, dir, e.Name(), map[string]bool{}) {
			continue
		}
		dlcCount(t, dir, e.Name(), want)
		l, r := openSelected(t, "dlc", e.Name())
		distinct := l.Index().Len()
		full := map[string]bool{} // names, however many rules are on them
		keywords, regexps := 0, 0
		for rule := range want {
			kind, text, _ := strings.Cut(rule, ":")
			switch kind {
			case "keyword":
				keywords++
			case "regexp":
				regexps++
			default:
				full[text] = true
			}
		}
		if distinct != len(full) || r.Keyword != keywords || r.Regexp != regexps || r.Skipped != 0 {
			t.Errorf("%s: %s; counted %d names, %d keywords, %d expressions", e.Name(), r.String(), len(full), keywords, regexps)
		}
		read++
	}
	if read < 30 {
		t.Errorf("only %d categories could be counted", read)
	}
	l, _ := openSelected(t, "dlc", "google")
	mustAndMustNot(t, l.Index(), "l", []string{"www.youtube.com", "google.cn", "a.google.com"}, []string{"netflix.com"})
	l, _ = openSelected(t, "dlc", "google@cn")
	mustAndMustNot(t, l.Index(), "l", []string{"google.cn"}, []string{"www.youtube.com", "google.com"})
}

// missingInclude reports whether a category includes files that the directory does not have.
func missingInclude(t *testing.T, dir, name string, seen map[string]bool) bool {
	t.Helper()
	if seen[name] {
		return false
	}
	seen[name] = true
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return true
	}
	for _, line := range grep(text, `^include:`) {
		if missingInclude(t, dir, strings.Fields(strings.TrimPrefix(line, "include:"))[0], seen) {
			return true
		}
	}
	return false
}

// scanDat decodes a category of geosite.dat independently, with slices alone.
func scanDat(data []byte, category string) (kinds map[byte]int, names []string, withAttribute int) {
	kinds = map[byte]int{}
	varint := func(b []byte) (int, []byte) {
		n := 0
		for i := 0; ; i++ {
			n |= int(b[i]&0x7f) << (7 * i)
			if b[i] < 0x80 {
				return n, b[i+1:]
			}
		}
	}
	for len(data) > 0 {
		n, rest := varint(data[1:])
		entry := rest[:n]
		data = rest[n:]
		n, entry = varint(entry[1:])
		if string(entry[:n]) != category {
			continue
		}
		for entry = entry[n:]; len(entry) > 0; {
			n, rest := varint(entry[1:])
			rule := rest[:n]
			entry = rest[n:]
			kind := byte(0)
			if rule[0] == 8 {
				kind, rule = rule[1], rule[2:]
			}
			n, rule = varint(rule[1:])
			kinds[kind]++
			if kind == 2 {
				names = append(names, string(rule[:n]))
			}
			if len(rule) > n {
				withAttribute++
			}
		}
	}
	return kinds, names, withAttribute
}

func TestRealGeosite(t *testing.T) {
	data := readReal(t, "geosite.dat")
	for _, category := range []string{"CN", "NETFLIX", "GOOGLE", "GEOLOCATION-!CN", "CATEGORY-ADS-ALL", "APPLE"} {
		kinds, names, _ := scanDat(data, category)
		l, r := openSelected(t, "geosite.dat", strings.ToLower(category))
		if r.Keyword != kinds[0] || r.Regexp != kinds[1] || r.Suffix != kinds[2] || r.Full != kinds[3] || r.Skipped != 0 || r.Suffix == 0 || r.Format != "geosite" {
			t.Errorf("%s: %s; counted %v; %v", category, r.String(), kinds, r.Samples)
		}
		var must []string
		for i := 0; i < len(names); i += 53 {
			must = append(must, names[i], "www."+names[i])
		}
		mustAndMustNot(t, l.Index(), "l", must, []string{"nothing.example"})
	}
	_, _, with := scanDat(data, "GOOGLE")
	ads, _ := openSelected(t, "geosite.dat", "google@ads")
	if r := ads.Reports()[0]; r.Entries() == 0 || r.Entries() > with {
		t.Errorf("google@ads: %s; %d rules have an attribute", r.String(), with)
	}
	_, err := Check(gateway.List{Name: "l", File: realList(t, "geosite.dat") + ":netflx"})
	if err == nil || !strings.HasSuffix(err.Error(), `the nearest of 1536 is "netflix"`) {
		t.Errorf("an unknown category: %v", err)
	}
}

// scanSRS counts independently what a rule-set of one rule holds: bits in the leaves of the
// trie, and expressions by the number before them.
func scanSRS(t *testing.T, file []byte) (names, expressions int) {
	t.Helper()
	z, err := zlib.NewReader(bytes.NewReader(file[4:]))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	at := 4
	number := func() int {
		v, n := binary.Uvarint(data[at:])
		at += n
		return int(v)
	}
	leaves := number() * 8
	for _, b := range data[at : at+leaves] {
		names += bits.OnesCount8(b)
	}
	at += leaves
	at += number() * 8
	at += number()
	if data[at] == 4 {
		at++
		expressions = number()
	}
	return names, expressions
}

func TestRealSRS(t *testing.T) {
	for _, tt := range []struct {
		file string
		must []string
		not  []string
	}{
		{"geosite-cn.srs", []string{"baidu.com", "www.qq.com"}, []string{"google.com"}},
		{"geosite-netflix.srs", []string{"netflix.com", "www.nflxvideo.net", "netflix.com.edgesuite.net", "a.dualstack.apiproxy-x.amazonaws.com"}, []string{"www.netflix.com.edgesuite.net", "amazonaws.com"}},
	} {
		names, expressions := scanSRS(t, readReal(t, tt.file))
		l, r := openSelected(t, tt.file, "")
		if r.Suffix+r.Full != names || r.Regexp != expressions || names < 40 || expressions < 4 || r.Skipped != 0 || r.Format != "srs" {
			t.Errorf("%s; counted %d names and %d expressions; %v", r.String(), names, expressions, r.Samples)
		}
		mustAndMustNot(t, l.Index(), "l", tt.must, append(tt.not, "nothing.example", "www.example.com"))
	}
	// The sources say the same as the compiled set: geosite-netflix.srs was made of them.
	srs, _ := openSelected(t, "geosite-netflix.srs", "")
	sources, _ := openSelected(t, "dlc", "netflix")
	for _, line := range grep(readReal(t, "dlc/netflix"), `^[a-z0-9.-]+$`) {
		for _, name := range []string{line, "www." + line, "x" + line} {
			a, b := which(srs.Index(), name), which(sources.Index(), name)
			if a != b {
				t.Errorf("%s: held by srs %q, by the sources %q", name, a, b)
			}
		}
	}
}
