package format

import (
	"bytes"
	"compress/gzip"
	"io"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestAdblock(t *testing.T) {
	runFormat(t, "adblock", []formatCase{
		{"[Adblock Plus 2.0]", ""},
		{"! Title: x", ""},
		{"# comment", ""},
		{"#", ""},
		{"||a.example^", "suffix:a.example"},
		{"||A.example", "suffix:a.example"},
		{"||bücher.example^", "suffix:xn--bcher-kva.example"},
		{"||a.example^|", "suffix:a.example"},
		{"@@||a.example^", "except always suffix:a.example"},
		{"@@||a.example^$important", "except always suffix:a.example"},
		{"||a.example^$important", "insist suffix:a.example"},
		{"||example^$denyallow=a.example|b.example", "suffix:example except specific suffix:a.example except specific suffix:b.example"},
		{"||example^$denyallow=a..b", "! " + reasonDenyallow},
		{"@@||example^$denyallow=a.example", "! " + reasonModifier},
		{"||a.example^$all", "suffix:a.example"},
		{"||a.example^$third-party", "suffix:a.example"},
		{"@@||a.example^$third-party", "! " + reasonModifier},
		{"||a.example^$dnsrewrite=192.0.2.1", "! " + reasonModifier},
		{"||a.example^$dnstype=AAAA", "! " + reasonModifier},
		{"||a.example^$client=192.0.2.1", "! " + reasonModifier},
		{"||a.example^$script,domain=b.example", "! " + reasonModifier},
		{"||*.a.example^", "below:a.example"},
		{"||ad*.a.example^", `regexp:(?:^|\.)ad.*\.a\.example$`},
		{"|a.example^", "full:a.example"},
		{"|https://a.example^", "full:a.example"},
		{"a.example", "full:a.example"},
		{"a*.example", `regexp:^a.*\.example$`},
		{"*.a.example", "below:a.example"},
		{`/^ad[0-9]+\./`, `regexp:^ad[0-9]+\.`},
		{`@@/^ad[0-9]$/`, `except always regexp:^ad[0-9]$`},
		{`/^ad$/$important`, `insist regexp:^ad$`},
		{"/(?=x)y/", "! " + entry.ReasonRegexp},
		{"||192.0.2.1^", "192.0.2.1/32"},
		{"@@||192.0.2.1^", "! " + reasonAddrExcept},
		{"0.0.0.0 a.example b.example # c", "full:a.example full:b.example"},
		{"||a.example/path", "! " + reasonPathRule},
		{"||a.example:8080^", "! " + reasonPathRule},
		{"a.example##.banner", "! " + reasonCosmetic},
		{"##.banner", "! " + reasonCosmetic},
		{"a.example#@#.banner", "! " + reasonCosmetic},
		{"#################", ""},
		{"-banner-", "! " + reasonURLWord},
		{"||", "! " + entry.ReasonEmpty},
		{"||a.example^$badfilter", "! " + reasonBadfilter}, // alone in a stream that cannot be read again
	})
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
