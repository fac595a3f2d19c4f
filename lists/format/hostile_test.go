package format

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

var filler = bytes.Repeat([]byte("a"), maxLine)

// endless is a line of n bytes without an end.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := copy(p, filler[:min(len(filler), e.n)])
	e.n -= n
	return n, nil
}

// textFormats returns the formats that are read line by line.
func textNames() (names []string) {
	for _, name := range Names() {
		if !isBinary(name) && name != "delegated" { // which needs a country
			names = append(names, name)
		}
	}
	return names
}

func TestEndlessLine(t *testing.T) {
	for _, format := range textNames() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s := &Sink{}
		in := io.MultiReader(&endless{256 << 20}, strings.NewReader("\nserver=/a.test/1.1.1.1\n"))
		err := parse(in, "f", format, s)
		runtime.ReadMemStats(&after)
		if format != "autoproxy" && err != nil { // autoproxy may take it for base64
			t.Errorf("%s: %v", format, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: a line of 256 MiB allocated %d bytes", format, used)
		}
		if s.Skipped == 0 {
			t.Errorf("%s: the line was not skipped", format)
		}
	}
}

// TestTenGigabytes is one line, longer than any memory.
func TestTenGigabytes(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 10 GB")
	}
	used, err := allocated(func() error {
		return parse(&endless{10 << 30}, "f", "", &Sink{})
	})
	if err != nil || used > 4<<20 {
		t.Errorf("%d bytes allocated, %v", used, err)
	}
}

// TestNonsense: nonsense in any format takes little memory, and what is an entry is a
// name.
func TestNonsense(t *testing.T) {
	for _, text := range []string{
		"\x00", strings.Repeat("\x00", 1<<20), "\xff\xfe\xfd", strings.Repeat("a", 64<<10) + ".test", "||" + strings.Repeat("a", 60<<10) + "^",
		strings.Repeat("a.", 30<<10) + "test", strings.Repeat("{", 1<<20), strings.Repeat("[", 1<<20), "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
		"\x0a\x7f\x0a\x7f" + strings.Repeat("A", 300), "SRS\x01", "SRS\x01\x78\xda", "MRS\x01" + strings.Repeat("\xff", 64), "{\"version\":1,\"rules\":[{\"domain\":[\"" + strings.Repeat("x", 1<<20),
	} {
		for _, format := range append(Names(), "") {
			used, _ := allocated(func() error {
				checkSink(t, format, []byte(text))
				return nil
			})
			if used > 12<<20 {
				t.Errorf("%s of %.20q: %d bytes allocated", format, text, used)
			}
		}
	}
}

// failing is a disk that fails in the middle of a file.
type failing struct{ r io.Reader }

var errDisk = errors.New("input/output error")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = errDisk
	}
	return n, err
}

func TestReadError(t *testing.T) {
	for _, format := range append(textNames(), "") {
		for _, size := range []int{0, 10, 100 << 10} {
			text := strings.Repeat("0.0.0.0 a.example\n", size)
			err := parse(failing{strings.NewReader(text)}, "f", format, &Sink{})
			if !errors.Is(err, errDisk) {
				t.Errorf("%s, %d lines: error %v", format, size, err)
			}
		}
	}
}

// allocated returns how many bytes a function allocates.
func allocated(run func() error) (uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// checkSink checks that a format puts only valid entries and prefixes, and counts them.
func checkSink(t *testing.T, format string, data []byte) {
	entries, prefixes := 0, 0
	s := &Sink{Prefix: func(p netip.Prefix) {
		prefixes++
		if !p.IsValid() || p != p.Masked() {
			t.Fatalf("prefix %v", p)
		}
	}}
	s.Entry = func(e entry.Entry) {
		entries++
		switch e.Kind {
		case entry.Keyword:
			if reason := entry.CheckKeyword(e.Text); reason != "" || strings.ToLower(e.Text) != e.Text {
				t.Fatalf("keyword %q: %s", e.Text, reason)
			}
		case entry.Regexp:
			if reason := entry.CheckRegexp(e.Text); reason != "" {
				t.Fatalf("expression %q: %s", e.Text, reason)
			}
		default:
			if name, reason := entry.CanonicalName(e.Text); reason != "" || name != e.Text {
				t.Fatalf("name %q: canonical %q %s", e.Text, name, reason)
			}
		}
		if entries < 100 {
			e.Matcher()("www.example.com")
		}
	}
	err := parse(bytes.NewReader(data), "f", format, s)
	r := s.Summary
	if entries != r.Entries() || prefixes != r.Prefixes {
		t.Fatalf("%d entries and %d prefixes, counted %d and %d", entries, prefixes, r.Entries(), r.Prefixes)
	}
	if len(r.Samples) > maxSamples || r.Skipped < len(r.Samples) {
		t.Fatalf("%d samples of %d skipped", len(r.Samples), r.Skipped)
	}
	if err == nil && r.Lines > 0 && entries+prefixes+r.Skipped == 0 && r.Format != "hosts" && r.Format != "adblock" && r.Format != "dlc" {
		t.Fatalf("%d lines came to nothing without a sample", r.Lines)
	}
}

func fuzzFormat(f *testing.F, format string, lines ...string) {
	for _, l := range lines {
		f.Add([]byte(l))
	}
	f.Add([]byte(strings.Join(lines, "\n")))
	f.Add([]byte("\x00\n\xff\xfe\n\ufeffa.test\r\n"))
	f.Add(bytes.Repeat([]byte("x"), maxLine+1))
	f.Fuzz(func(t *testing.T, data []byte) { checkSink(t, format, data) })
}

func FuzzPlain(f *testing.F) {
	fuzzFormat(f, "plain", "example.com # c", "full:a.test", "keyword:k", `regexp:^a\.b$`, "*.x.test", "192.0.2.0/24", "中国", "a*b.c*", "listed.example # demo", "0 localhost.localdomain", "a.example, b.example // c", "- \"a.example\",", "full:a.example:@cn,@ads", "https://a.example/", "a.example:1")
}

func FuzzHosts(f *testing.F) {
	fuzzFormat(f, "hosts", "0.0.0.0 a.example b.example # c", "::1 localhost", "fe80::1%lo0 x", "0.0.0.0")
}

func FuzzDnsmasq(f *testing.F) {
	fuzzFormat(f, "dnsmasq", "server=/a.example/b.example/1.1.1.1#53", "server=/c.example/#", "ipset=/*.d.example/*e.example/s", "server=//1", "address=/#/1.1.1.1", "=", "server=/")
}

func FuzzAutoproxy(f *testing.F) {
	fuzzFormat(f, "autoproxy", "[AutoProxy 0.2.9]", "||a.example^$x", "@@|http://b.example/", ".c.example/p", `/^https?:\/\/[^\/]+blogspot\.(.*)/`,
		"|http://[::1]:80/", "W0F1dG9Qcm94eSAwLjIuOV0KfHxhLmV4YW1wbGUK", "W0F1dG9Qcm94eSAwLjIuOV0KfHxhLmV4YW1wbG", "cdn*.x.example")
}

func FuzzAdblock(f *testing.F) {
	fuzzFormat(f, "adblock", "[Adblock Plus 2.0]", "||a.example^", "@@||b.example^$important", "||c.example^$denyallow=x.c.example|y.example", "||a.example^$badfilter",
		"/^ad[0-9]$/$important", "0.0.0.0 d.example", "e.example##.x", "|https://f.example^", "||*.g.example^", "a*.example")
}

func FuzzSmartdns(f *testing.F) {
	fuzzFormat(f, "smartdns", "nameserver /a.example/g", "address /-.b.example/#", "ipset /*-c.example/-", "nftset /d/#4:-,#6:-", "domain-set -name a -file b", "domain-rules /domain-set:a/ -c none")
}

func FuzzClash(f *testing.F) {
	fuzzFormat(f, "clash", "payload:", "  - '+.a.example'", "- .b.example", "*.c.*.example", "DOMAIN-REGEX,^d{1,2}", "DOMAIN-WILDCARD,e*f?.example", "IP-CIDR,192.0.2.0/24,no-resolve", `- "a\\b"`, "---", "- '", "payload: [a]")
}

func FuzzNFTSet(f *testing.F) {
	fuzzFormat(f, "nftset", "add element inet t s { 192.0.2.0/24, 2001:db8::1-2001:db8::9 timeout 1h }", "elements = { 192.0.2.1,", "}", "add chn 192.0.2.0/24", "add set inet t s { type ipv4_addr; }", "elements = { ::-ffff::, 0.0.0.0-255.255.255.254 }")
}

func FuzzDLCYAML(f *testing.F) {
	fuzzFormat(f, "dlcyaml", "lists:\n  - name: a\n    rules:\n      - \"domain:a.example:@cn,@ads\"\n      - full:b.example\n", "- name: 'x\n- \n- :@\nrules:")
}

func FuzzDLC(f *testing.F) {
	fuzzFormat(f, "dlc", "a.example @ads @!cn &other # c", "full:b.example", "include:other @a @-b", "keyword:k", "regexp:^r", "a b", "include:")
}

// fuzzSelected fuzzes a format of which a part is read.
func fuzzSelected(f *testing.F, format string, selectors []string, seeds ...string) {
	for _, selector := range selectors {
		for _, seed := range seeds {
			f.Add(selector, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, selector string, data []byte) {
		s := &Sink{selector: selector, rewind: func() (io.Reader, error) { return bytes.NewReader(data), nil }}
		s.Prefix = func(p netip.Prefix) {
			if !p.IsValid() || p != p.Masked() {
				t.Fatalf("prefix %v", p)
			}
		}
		s.Entry = func(e entry.Entry) {
			if e.Kind != entry.Keyword && e.Kind != entry.Regexp && !isName(e.Text) {
				t.Fatalf("name %q", e.Text)
			}
		}
		if err := parse(bytes.NewReader(data), "f", format, s); err == nil && s.Size()+s.Skipped < s.Lines {
			t.Fatalf("%+v", s.Summary)
		}
	})
}

func FuzzGeosite(f *testing.F) {
	fuzzSelected(f, "geosite", []string{"google", "google@ads@!cn", "geo@-!cn", ""}, rulesettest.Geosite(), rulesettest.Geosite()[:50], "\x0a\xff\xff\xff\xff\x0f")
}

func FuzzGeoIP(f *testing.F) {
	fuzzSelected(f, "geoip", []string{"cn"}, string(rulesettest.Dat("CN", rulesettest.CIDR("192.0.2.0/24"), rulesettest.CIDR("2001:db8::/32"), []byte{10, 3, 1, 2, 3})))
}

func FuzzDelegated(f *testing.F) {
	fuzzSelected(f, "delegated", []string{"CN"}, "2|apnic|1|2|3|4|+1000\napnic|*|ipv4|*|2|summary\napnic|CN|ipv4|192.0.2.0|300|1|allocated\napnic|CN|ipv6|2001:db8::|32|1|assigned\n")
}

func FuzzSRS(f *testing.F) {
	// Fuzzed without its compression, which would hide everything from the fuzzer.
	f.Add(byte(2), rulesettest.SRSRule(0, rulesettest.SRSNames("a.test", "\r.b.test", "\nc.test"), rulesettest.SRSTexts(rulesettest.SRSKeyword, "k"), rulesettest.SRSRanges(rulesettest.SRSCIDR, "192.0.2.0-192.0.2.9")))
	f.Add(byte(4), rulesettest.SRSRule(1, []byte{rulesettest.SRSInterfaces, 1, 0, 1, 4, 10, 0, 0, 0, 8}, []byte{9, 1, 0, 80}))
	f.Add(byte(1), []byte{1, 1, 2, 0, 255, 0, 0, 255, 0, 0})
	f.Fuzz(func(t *testing.T, version byte, rule []byte) {
		checkSink(t, "srs", rulesettest.SRSFile(version%6, rule))
	})
}

func FuzzMRS(f *testing.F) {
	f.Add(byte(0), rulesettest.Trie(rulesettest.Int64, "+.a.test", "b.test", "*.c.test"))
	f.Add(byte(1), make([]byte, 40))
	f.Fuzz(func(t *testing.T, behaviour byte, payload []byte) {
		checkSink(t, "mrs", []byte(rulesettest.MRSFile(behaviour, payload)))
	})
}

func FuzzSingbox(f *testing.F) {
	f.Add([]byte(`{"version":1,"rules":[{"domain":["a.test"],"domain_suffix":".b.test","domain_regex":"^r","ip_cidr":"192.0.2.0/24","invert":false}]}`))
	f.Add([]byte(`{"rules":[{"type":"logical","mode":"or","rules":[{"domain":"a.test"},{"port":[1]}]}],"version":3}`))
	f.Add([]byte(`{"rules":[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) { checkSink(t, "singbox", data) })
}

func FuzzDetected(f *testing.F) {
	fuzzFormat(f, "", "0.0.0.0 a.example", "server=/a.example/1.1.1.1", "||a.example", "a.example")
}

func isName(s string) bool {
	_, reason := entry.CanonicalName(s)
	return reason == ""
}
