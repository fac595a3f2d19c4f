package format

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

// read parses text and returns what it came to.
func read(t *testing.T, file, format, text string) (entries, prefixes []string, r Summary, err error) {
	t.Helper()
	s := &Sink{
		Entry:  func(e entry.Entry) { entries = append(entries, show(e)) },
		Prefix: func(p netip.Prefix) { prefixes = append(prefixes, p.String()) },
	}
	err = parse(strings.NewReader(text), file, format, s)
	return entries, prefixes, s.Summary, err
}

// show writes an entry as the tests have it: except always full:name.
func show(e entry.Entry) string {
	return [...]string{"", "except always ", "except specific ", "insist "}[e.Exception] +
		[...]string{"suffix:", "below:", "full:", "keyword:", "regexp:"}[e.Kind] + e.Text
}

// formatCase is one line of a list: what it comes to, or why it is skipped. A line
// that is neither entry nor skipped is a comment.
type formatCase struct{ line, want string }

func runFormat(t *testing.T, format string, cases []formatCase) {
	t.Helper()
	for _, tt := range cases {
		entries, prefixes, r, err := read(t, "f", format, tt.line)
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		got := strings.Join(append(entries, prefixes...), " ")
		for _, s := range r.Samples {
			got = strings.TrimPrefix(got+" ! "+s.Reason, " ")
		}
		if got != tt.want {
			t.Errorf("%s line %q:\n got %s\nwant %s", format, tt.line, got, tt.want)
		}
		if n := r.Entries(); n != len(entries) || r.Prefixes != len(prefixes) {
			t.Errorf("%q: counted %d entries and %d prefixes", tt.line, n, r.Prefixes)
		}
	}
}

func TestPlain(t *testing.T) {
	long := strings.Repeat("a", 64)
	runFormat(t, "plain", []formatCase{
		{"example.com", "suffix:example.com"},
		{"domain:example.com", "suffix:example.com"},
		{"domain: example.com ", "suffix:example.com"},
		{"full:www.Example.com.", "full:www.example.com"},
		{"keyword:Tube", "keyword:tube"},
		{"keyword:.tube-", "keyword:.tube-"},
		{`regexp:^img\d+\.example\.com$`, `regexp:^img\d+\.example\.com$`},
		{`regexp:a # comment`, `regexp:a`},
		{`regexp:a#b`, `regexp:a#b`},
		{"*.example.com", "below:example.com"},
		{".example.com", "suffix:example.com"},
		{"+.example.com", "suffix:example.com"},
		{"cdn*.example.com", `regexp:(?:^|\.)cdn.*\.example\.com$`},
		{"*-a.example.com", `regexp:-a\.example\.com$`},
		{"*.a*.example.com", `regexp:\.a.*\.example\.com$`},
		{"EXAMPLE.com", "suffix:example.com"},
		{"  example.com\t", "suffix:example.com"},
		{"example.com\r", "suffix:example.com"},
		{"example.com. # trailing", "suffix:example.com"},
		{"example.com\t#trailing", "suffix:example.com"},
		{"# comment", ""},
		{"", ""},
		{"\ufeffexample.com", "suffix:example.com"},
		{"中国", "suffix:xn--fiqs8s"},
		{"full:Bücher.example", "full:xn--bcher-kva.example"},
		{"faß.example", "suffix:xn--fa-hia.example"},
		{"例子。测试", "suffix:xn--fsqu00a.xn--0zwm56d"},
		{"xn--fiqs8s", "suffix:xn--fiqs8s"},
		{"_dmarc.r1---sn-x.example", "suffix:_dmarc.r1---sn-x.example"},
		{"cn", "suffix:cn"},
		{"192.0.2.77/24", "192.0.2.0/24"},
		{"192.0.2.7", "192.0.2.7/32"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"::ffff:192.0.2.7", "192.0.2.7/32"},
		{"fe80::1%eth0", "! " + entry.ReasonChar},
		{"192.0.2.0/33", "! " + entry.ReasonPrefix + ", and " + entry.ReasonChar},
		{"1.2.3", "! " + entry.ReasonNumber},
		{"example..com", "! " + entry.ReasonLabel},
		{long + ".com", "! " + entry.ReasonLabel},
		{strings.Repeat("a.", 127) + "com", "! " + entry.ReasonLong},
		{"example com", "! " + entry.ReasonChar},
		{"https://example.com/", "! " + entry.ReasonPrefix + ", and " + entry.ReasonChar},
		{"example.com#joined", "! " + entry.ReasonChar},
		{".", "! " + entry.ReasonEveryName},
		{"*", "! " + entry.ReasonEveryName},
		{"*.", "! " + entry.ReasonEveryName},
		{"*.*", "! " + entry.ReasonEveryName},
		{"full:", "! " + entry.ReasonEmpty},
		{"keyword:", "! " + entry.ReasonEmpty},
		{"keyword:.", "! " + entry.ReasonEveryName},
		{"keyword:a b", "! " + entry.ReasonKeyword},
		{"regexp:", "! " + entry.ReasonEmpty},
		{"regexp:.*", "! " + entry.ReasonEveryName},
		{"regexp:(?=x)y", "! " + entry.ReasonRegexp},
		{"regexp:(", "! " + entry.ReasonRegexp},
		{"a\x00b.com", "! " + reasonUTF8},
		{"\xff\xfe.com", "! " + reasonUTF8},
		{"\u200d.com", "! " + entry.ReasonIDN},
	})
}

func TestHosts(t *testing.T) {
	runFormat(t, "hosts", []formatCase{
		{"0.0.0.0 ads.example.com", "full:ads.example.com"},
		{"127.0.0.1\tA.example b.example # c.example", "full:a.example full:b.example"},
		{"::1 six.example", "full:six.example"},
		{"203.0.113.9 any.example", "full:any.example"},
		{"fe80::1%lo0 localhost zone.example", "full:zone.example"},
		{"0.0.0.0 bücher.example", "full:xn--bcher-kva.example"},
		{"127.0.0.1 localhost localhost.localdomain local", ""},
		{"255.255.255.255 broadcasthost", ""},
		{"ff02::1 ip6-allnodes", ""},
		{"0.0.0.0 0.0.0.0", ""},
		{"# 0.0.0.0 x.example", ""},
		{"0.0.0.0", "! " + reasonHosts},
		{"0.0.0.0 # nothing", "! " + reasonHosts},
		{"example.com", "! " + reasonHosts},
		{"0.0.0.0 good.example bad..example", "full:good.example ! " + entry.ReasonLabel},
	})
}

func TestDnsmasq(t *testing.T) {
	runFormat(t, "dnsmasq", []formatCase{
		{"server=/example.com/114.114.114.114", "suffix:example.com"},
		{"server=/a.example/b.example/192.0.2.1#53@eth0", "suffix:a.example suffix:b.example"},
		{"server=/example.com/", "suffix:example.com"},
		{"server = /example.com/2001:db8::1 # comment", "suffix:example.com"},
		{"local=/example.com/", "suffix:example.com"},
		{"address=/example.com/0.0.0.0", "suffix:example.com"},
		{"address=/example.com/#", "suffix:example.com"},
		{"ipset=/example.com/example.org/vpn,vpn6", "suffix:example.com suffix:example.org"},
		{"nftset=/example.com/4#inet#fw4#vpn4,6#inet#fw4#vpn6", "suffix:example.com"},
		{"server=/out.example.com/#", "except specific suffix:out.example.com"},
		{"local=/a.example/b.example/#", "except specific suffix:a.example except specific suffix:b.example"},
		{"server=/*.example.com/#", "except specific below:example.com"},
		{"server=/*.example.com/192.0.2.1", "below:example.com"},
		{"server=/*example.com/192.0.2.1", `regexp:example\.com$`},
		{"server=/.example.com/192.0.2.1", "suffix:example.com"},
		{"server=/Bücher.example/192.0.2.1", "suffix:xn--bcher-kva.example"},
		{"#server=/example.com/192.0.2.1", ""},
		{"server=192.0.2.1", "! " + reasonDnsmasq},
		{"no-resolv", "! " + reasonDnsmasq},
		{"server=/example.com", "! " + reasonDnsmasq},
		{"server=//192.0.2.1", "! " + reasonUnqualified},
		{"server=/#/192.0.2.1", "! " + entry.ReasonEveryName},
		{"server=/*example.com/#", "! " + reasonWildExcept},
		{"server=/good.example/bad..example/192.0.2.1", "suffix:good.example ! " + entry.ReasonLabel},
	})
}

func TestAutoproxy(t *testing.T) {
	runFormat(t, "autoproxy", []formatCase{
		{"[AutoProxy 0.2.9]", ""},
		{"! comment", ""},
		{"||example.com", "suffix:example.com"},
		{"||example.com^", "suffix:example.com"},
		{"||example.com/", "suffix:example.com"},
		{"||example.com/path*x", "suffix:example.com"},
		{"||example.com:8080", "suffix:example.com"},
		{"||example.com^$third-party", "suffix:example.com"},
		{"||*.example.com", "below:example.com"},
		{"||cdn*.example.com", `regexp:(?:^|\.)cdn.*\.example\.com$`},
		{"|http://example.com", "suffix:example.com"},
		{"|https://example.com/a/b?c", "suffix:example.com"},
		{"http://example.com/", "suffix:example.com"},
		{"|http://*.example.com", "below:example.com"},
		{"|http://cdn*.example.com/", `regexp:(?:^|\.)cdn.*\.example\.com$`},
		{"|http://192.0.2.7/", "192.0.2.7/32"},
		{"|http://[2001:db8::7]:80/", "2001:db8::7/128"},
		{"192.0.2.7:8080", "192.0.2.7/32"},
		{".example.com", "suffix:example.com"},
		{".example.com/path", "suffix:example.com"},
		{"www.example.com", "suffix:www.example.com"},
		{"example.com/path", "suffix:example.com"},
		{"*.example.com", "below:example.com"},
		{"@@||example.com", "except always suffix:example.com"},
		{"@@||*.example.com", "except always below:example.com"},
		{"@@|http://example.com", "except always full:example.com"},
		{"@@|https://example.com/", "except always full:example.com"},
		{"@@|http://cdn*.example.com", `except always regexp:^cdn.*\.example\.com$`},
		{"@@.example.com", "except always below:example.com"},
		{"@@example.com", "except always suffix:example.com"},
		{`/^https?:\/\/[^\/]+blogspot\.(.*)/`, `regexp:^(?:[^/]+blogspot\.(.*))`},
		{`/^https?:\/\/([a-z0-9]+\.)*example\.com\/path.*/`, `regexp:^(?:([a-z0-9]+\.)*example\.com)$`},
		{`@@/^https?:\/\/www\.example\.com/`, `except always regexp:^(?:www\.example\.com)`},
		{`@@/^https?:\/\/www\.example\.com\/path/`, "! " + reasonPathExcept},
		{`@@/^https?:\/\/(?=.*?(2x3|ni5|j5o))[a-z0-9.-]+\.xn--ngstr-lra8j\.com$/`, "! " + entry.ReasonRegexp},
		{`/^https?:\/\/.*/`, "! " + entry.ReasonEveryName},
		{`/^https?:\/\/[a-z]+\.x/`, "! " + reasonURLRegexp},
		{`/^https?:\/\/(a\/b|c)/`, "! " + reasonURLRegexp},
		{`/example\.com/`, "! " + reasonURLRegexp},
		{"@@||example.com/path", "! " + reasonPathExcept},
		{"@@||example.com:8080", "! " + reasonPathExcept},
		{"@@||192.0.2.7", "! " + reasonAddrExcept},
		{"search*safeweb", "! " + reasonURLWord},
		{"q=freedom", "! " + reasonURLWord},
		{"|ftp://example.com", "! " + reasonURLWord},
		{"/path/x", "! " + reasonPath},
		{"||", "! " + entry.ReasonEveryName},
		{"@@", "! " + reasonURLWord},
		{"||exa mple.com", "! " + entry.ReasonChar},
		{"||bücher.example", "suffix:xn--bcher-kva.example"},
	})
}

func TestAutoproxyBase64(t *testing.T) {
	text := "[AutoProxy 0.2.9]\n! comment\n||example.com\n@@||www.example.com\n"
	packed := base64.StdEncoding.EncodeToString([]byte(text))
	want := []string{"suffix:example.com", "except always suffix:www.example.com"}
	var wrapped strings.Builder
	for i := 0; i < len(packed); i += 16 {
		wrapped.WriteString(packed[i:min(i+16, len(packed))] + "\r\n")
	}
	for _, in := range []string{text, packed, wrapped.String(), "\ufeff" + packed, " " + wrapped.String() + "\n\n"} {
		entries, _, r, err := read(t, "list.txt", "", in)
		if err != nil || r.Format != "autoproxy" || !slices.Equal(entries, want) {
			t.Errorf("%.30q: %s, %q, %v", in, r.Format, entries, err)
		}
	}
	for _, in := range []string{packed[:len(packed)-3], packed[:40] + "!" + packed[41:], packed + "||more.example\n"} {
		if _, _, _, err := read(t, "list.txt", "", in); err == nil || !strings.HasPrefix(err.Error(), "base64: ") {
			t.Errorf("damaged base64 %q: error %v", in, err)
		}
	}
}

func TestDetect(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"list.txt", "example.com\n", "plain"},
		{"list.txt", "full:example.com\n192.0.2.0/24\n", "plain"},
		{"list.txt", "abcd\nefgh\n", "plain"},
		{"list.txt", "# header\n\n0.0.0.0 a.example\n", "hosts"},
		{"list.txt", "192.0.2.1 # one\n192.0.2.2 # two\n", "plain"},
		{"list.txt", "# header\nserver=/a.example/192.0.2.1\n", "dnsmasq"},
		{"list.txt", "conf-dir=/x\nipset=/a.example/vpn\n", "dnsmasq"},
		{"list.txt", "! header\n||a.example\n", "autoproxy"},
		{"list.txt", "[AutoProxy 0.2.9]\n", "autoproxy"},
		{"list.txt", "[AutoProxy 0.2.9]\na.example\nb.example\n||c.example\n", "autoproxy"},
		{"list.txt", "a.example\nb.example\n0.0.0.0 stray.example\n", "plain"},
		{"list.txt", "a.example\nfull:b.example\nserver=/stray.example/1.1.1.1\n", "plain"},
		{"list.txt", "no-resolv\nserver=/a.example/1.1.1.1\n", "dnsmasq"},
		{"gfwlist.txt", "# only a comment\nexample.com", "plain"},
		{"gfwlist.txt", "", "autoproxy"},
		{"x.conf", "\n", "dnsmasq"},
		{"hosts", "", "hosts"},
		{"mine", "", "plain"},
	} {
		if got := detect(tt.file, []byte(tt.text)).name(); got != tt.want {
			t.Errorf("detect(%s, %q) = %s, want %s", tt.file, tt.text, got, tt.want)
		}
	}
	_, _, r, err := read(t, "list.txt", "hosts", "example.com\n")
	if err != nil || r.Format != "hosts" || r.Skipped != 1 {
		t.Errorf("format: hosts over a plain list: %+v, %v", r, err)
	}
	_, _, _, err = read(t, "list.txt", "nonsense", "example.com\n")
	want := `format "nonsense": unknown; known are ` + strings.Join(Names(), ", ")
	if err == nil || err.Error() != want {
		t.Errorf("unknown format: %v, want %s", err, want)
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	text := "\n# comment\na.example\n" + long + "\nb.example\n" + long + long + long
	entries, _, r, err := read(t, "f", "plain", text)
	if err != nil || !slices.Equal(entries, []string{"suffix:a.example", "suffix:b.example"}) {
		t.Fatalf("%q, %v", entries, err)
	}
	if r.Lines != 4 || r.Skipped != 2 || len(r.Samples) != 2 {
		t.Fatalf("%d lines, %d skipped, samples %v", r.Lines, r.Skipped, r.Samples)
	}
	for i, line := range []int{4, 6} {
		if s := r.Samples[i]; s.Line != line || s.Reason != reasonLongLine || len(s.Text) > entry.MaxPrintable+len("…") {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
	// A line that just fits.
	if _, _, r, _ := read(t, "f", "plain", long[1:]+"\n"); r.Samples[0].Reason != entry.ReasonLong {
		t.Errorf("a line of 64 KiB with its end: %+v", r.Samples)
	}
}

func TestSamples(t *testing.T) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "bad line %d\x1b[31m\n", i)
	}
	_, _, r, _ := read(t, "f", "plain", text.String()+"good.example\n")
	if r.Skipped != 100 || len(r.Samples) != maxSamples || r.Suffix != 1 || r.Lines != 101 {
		t.Fatalf("%+v", r)
	}
	want := `line 5: "bad line 4�[31m": ` + entry.ReasonChar
	if got := r.Samples[4].String(); got != want {
		t.Errorf("sample: %s\n   want: %s", got, want)
	}
	for _, s := range []string{strings.Repeat("é", 60), strings.Repeat("\xff", 200), strings.Repeat("a", 79) + "é"} {
		if p := entry.Printable(s); strings.ContainsRune(p, '\xff') || len(p) > 3*entry.MaxPrintable+3 {
			t.Errorf("entry.Printable(%q) = %q", s, p)
		}
	}
}

func TestNoEntries(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"# a comment\n\n", ""},
		{"192.0.2.0/24\n", ""},
		{"<html>\n<body>\n", `f: no entry in 2 lines, read as plain; line 1: "<html>": ` + entry.ReasonChar},
		{"127.0.0.1 localhost\n", "f: no entry in 1 lines, read as hosts"},
	} {
		_, _, r, err := read(t, "f", "", tt.text)
		if err != nil {
			t.Fatal(err)
		}
		err = r.Check("f")
		if tt.want == "" {
			if err != nil {
				t.Errorf("%q: %v", tt.text, err)
			}
			continue
		}
		if err == nil || err.Error() != tt.want || !errors.Is(err, ErrNoEntries) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}
