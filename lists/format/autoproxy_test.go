package format

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

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
		{"||example.com^$client=192.0.2.1", "! " + reasonAdblock},
		{"||example.com$denyallow=a.example.com", "! " + reasonAdblock},
		{"@@||example.com^$third-party", "! " + reasonAdblock},
		{"||example.com^$badfilter", "! " + reasonAdblock},
		{"||example.com/a$b", "suffix:example.com"},
		{"example.com*word", "suffix:example.com"},
		{".www.example*word", "suffix:www.example"},
		{"|http://example.com*word/x", "suffix:example.com"},
		{"@@||example.com*word", "! " + reasonPathExcept},
		{"||cdn*word", `regexp:(?:^|\.)cdn.*word$`},
		{"||a.cdn*.example.com", `regexp:(?:^|\.)a\.cdn.*\.example\.com$`},
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
