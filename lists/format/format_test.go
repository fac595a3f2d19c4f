package format

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

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
		{"list.txt", "||a.example\n||b.example^$client=192.0.2.1\n", "adblock"},
		{"list.txt", "||a.example\n||b.example$important\n", "adblock"},
		{"list.txt", "||a.example\n@@||b.example$important\n", "adblock"},
		{"list.txt", "||a.example\n|https://b.example^\n", "adblock"},
		{"list.txt", "||a.example\n/ads[0-9]+/$important\n", "adblock"},
		{"list.txt", "||a.example\nb.example$denyallow=c.b.example\n", "adblock"},
		{"list.txt", "||a.example\n||b.example/a$b\n", "autoproxy"},
		{"list.txt", "0 a.example\n0 b.example\n", "hosts"},
		{"list.yml", "lists:\n  - name: a\n    rules:\n      - domain:a.example\n", "dlcyaml"},
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
	want := `unknown format "nonsense": want one of ` + strings.Join(Names(), ", ")
	if err == nil || err.Error() != want {
		t.Errorf("unknown format: %v, want %s", err, want)
	}
}

// What a portal or a broken mirror sends is no list, whatever its name and the format that was
// asked for, compressed or not.
func TestNotALists(t *testing.T) {
	var page strings.Builder
	for range 20 {
		page.WriteString("Lorem ipsum dolor sit amet, consectetur.\n")
	}
	for text, want := range map[string]string{
		"<!doctype html>\n<p>\nlogin\nportal\n":    "it is a web page, not a list",
		"\ufeff \n<HTML>\nlogin\n":                 "it is a web page, not a list",
		"<?xml version=\"1.0\"?>\n<a/>\nlogin\n":   "it is a web page, not a list",
		"<!-- x -->\nlogin\n":                      "it is a web page, not a list",
		"{\"error\": 404,\n\"message\":\nlogin\n}": "it is JSON, such as a server's error, and not a list",
		"[{\"error\": 404}]\nlogin\n":              "it is JSON, such as a server's error, and not a list",
		"[ \"a\" ]\nlogin\n":                       "it is JSON, such as a server's error, and not a list",
		"login\nportal\n" + page.String():          "not a list: 20 of 22 lines are no rules",
	} {
		for _, format := range []string{"", "plain", "hosts", "autoproxy", "adblock", "clash"} {
			if format != "" && strings.HasPrefix(text, "login") {
				continue // what the user says is believed
			}
			for _, body := range []string{text, gzipped(t, text)} {
				_, _, _, err := read(t, "list.txt", format, body)
				if !errors.Is(err, ErrNotList) || !strings.Contains(err.Error(), want) {
					t.Errorf("%q as %q: %v, want %s", text, format, err, want)
				}
			}
		}
	}
	for _, text := range []string{"a.example\n" + strings.Repeat("???\n", 9), "[Adblock Plus]\n||a.example^\n", strings.Repeat("a.example\n???\n???\n", 10)} {
		if _, _, _, err := read(t, "list.txt", "", text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDLCYAML(t *testing.T) {
	const text = `lists:
  - name: google
    length: 4
    rules:
      - "domain:a.example:@cn"
      - full:b.example:@cn,@ads
      - "regexp:^c\\.example$"
      - keyword:word # remark
  - name: other
    length: 1
    rules:
      - domain:other.example
`
	for selector, want := range map[string]string{
		"google":     `full:b.example keyword:word regexp:^c\.example$ suffix:a.example`,
		"GOOGLE@cn":  "full:b.example suffix:a.example",
		"google@-cn": `keyword:word regexp:^c\.example$`,
		"other":      "suffix:other.example",
		"":           "it holds 2 lists: name one after a colon, FILE:google",
		"othr":       `category "othr": unknown; the nearest of 2 is "other"`,
		"google@!cn": "an attribute that begins with ! cannot be selected here: want @-NAME for the rules without NAME",
	} {
		var got []string
		s := &Sink{selector: selector, Entry: func(e entry.Entry) { got = append(got, show(e)) }}
		err := parse(strings.NewReader(text), "l.yml", "", s)
		result := sortedWords(strings.Join(got, " "))
		if err != nil {
			result = err.Error()
		}
		if result != want || s.Skipped > 0 {
			t.Errorf("%s: %s, want %s; %v", selector, result, want, s.Samples)
		}
	}
	one, _, found := strings.Cut(text, "  - name: other")
	if _, _, r, err := read(t, "l.yml", "", one); !found || err != nil || r.Entries() != 4 || r.Lines != 4 {
		t.Errorf("one list: %+v, %v", r, err)
	}
}
