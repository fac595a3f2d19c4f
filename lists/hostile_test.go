package lists

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
)

var filler = bytes.Repeat([]byte("a"), maxLine)

// endless is a line that does not end, of n bytes.
type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := copy(p, filler[:min(len(filler), e.n)])
	e.n -= n
	return n, nil
}

// textFormats are those that are read line by line.
func textFormats() (names []string) {
	for _, name := range Formats() {
		if !isBinary(name) && name != "delegated" { // which needs a country
			names = append(names, name)
		}
	}
	return names
}

func TestEndlessLine(t *testing.T) {
	for _, format := range textFormats() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := Report{}
		in := io.MultiReader(&endless{256 << 20}, strings.NewReader("\nserver=/a.test/1.1.1.1\n"))
		err := parse(in, "f", format, &sink{report: &r})
		runtime.ReadMemStats(&after)
		if format != "autoproxy" && err != nil { // autoproxy may take it for base64
			t.Errorf("%s: %v", format, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: a line of 256 MiB allocated %d bytes", format, used)
		}
		if r.Skipped == 0 {
			t.Errorf("%s: the line was not skipped", format)
		}
	}
}

// failing is a disk that breaks in the middle of a file.
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
	for _, format := range append(textFormats(), "") {
		for _, size := range []int{0, 10, 100 << 10} {
			text := strings.Repeat("0.0.0.0 a.example\n", size)
			err := parse(failing{strings.NewReader(text)}, "f", format, &sink{report: &Report{}})
			if !errors.Is(err, errDisk) {
				t.Errorf("%s, %d lines: error %v", format, size, err)
			}
		}
	}
}

func TestManyPatterns(t *testing.T) {
	// Thousands of keywords and expressions; each name meets few of them.
	b := NewBuilder([]string{"l"})
	for i := range 5000 {
		b.Add(0, Entry{Kind: Keyword, Text: fmt.Sprintf("key%dword", i)})
		b.Add(0, Entry{Kind: Regexp, Text: fmt.Sprintf(`^r%d[0-9]\.example\.(com|net)$`, i)})
	}
	ix := b.Build()
	for name, want := range map[string]bool{
		"a.key4999word.test": true, "key12wor.d.test": false, "r49997.example.net": true, "r4999x.example.net": false,
	} {
		if got := which(ix, name) != ""; got != want {
			t.Errorf("%s: held %v, want %v", name, got, want)
		}
	}
}

func TestBuilderIgnoresWhatIsNoEntry(t *testing.T) {
	ix := build([]string{"l"}, []Entry{
		{Suffix, 0, ""}, {Suffix, 0, "a..b"}, {Full, 0, strings.Repeat("a", 300)},
		{Keyword, 0, ""}, {Keyword, 0, "a b"}, {Regexp, 0, "("}, {Below, 0, "good.test"},
	})
	if ix.Len() != 1 || which(ix, "x.good.test") != "l" {
		t.Errorf("%d names", ix.Len())
	}
}

// checkSink makes sure that what a format passes on is what entries promise to be.
func checkSink(t *testing.T, format string, data []byte) {
	r := Report{File: "f"}
	entries, prefixes := 0, 0
	b := NewBuilder([]string{"l"})
	s := &sink{report: &r, prefix: func(p netip.Prefix) {
		prefixes++
		if !p.IsValid() || p != p.Masked() {
			t.Fatalf("prefix %v", p)
		}
	}}
	s.add = func(e Entry) {
		entries++
		switch e.Kind {
		case Keyword:
			if reason := checkKeyword(e.Text); reason != "" || strings.ToLower(e.Text) != e.Text {
				t.Fatalf("keyword %q: %s", e.Text, reason)
			}
		case Regexp:
			if reason := checkRegexp(e.Text); reason != "" {
				t.Fatalf("expression %q: %s", e.Text, reason)
			}
		default:
			if name, reason := canonical(e.Text); reason != "" || name != e.Text {
				t.Fatalf("name %q: canonical %q %s", e.Text, name, reason)
			}
		}
		if entries < 100 {
			b.Add(0, e)
		}
	}
	err := parse(bytes.NewReader(data), "f", format, s)
	if entries != r.Entries() || prefixes != r.Prefixes {
		t.Fatalf("%d entries and %d prefixes, counted %d and %d", entries, prefixes, r.Entries(), r.Prefixes)
	}
	if len(r.Samples) > maxSamples || r.Skipped < len(r.Samples) {
		t.Fatalf("%d samples of %d skipped", len(r.Samples), r.Skipped)
	}
	if err == nil && r.Lines > 0 && entries+prefixes+r.Skipped == 0 && r.Format != "hosts" {
		t.Fatalf("%d lines came to nothing and nobody says so", r.Lines)
	}
	b.Build().Match("www.example.com")
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
	fuzzFormat(f, "plain", "example.com # c", "full:a.test", "keyword:k", `regexp:^a\.b$`, "*.x.test", "192.0.2.0/24", "中国", "a*b.c*", string(Demo))
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

func FuzzDetected(f *testing.F) {
	if text, err := os.ReadFile("demo.txt"); err == nil {
		f.Add(text)
	}
	fuzzFormat(f, "", "0.0.0.0 a.example", "server=/a.example/1.1.1.1", "||a.example", "a.example")
}
