package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset"
	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

func TestSRS(t *testing.T) {
	full := rulesettest.SRSRule(0, rulesettest.SRSNames("full.test", "\r.below.test", "\nsuffix.test", "\rend.test"),
		rulesettest.SRSTexts(rulesettest.SRSKeyword, "key"), rulesettest.SRSTexts(rulesettest.SRSRegexp, `^r\d`), rulesettest.SRSRanges(rulesettest.SRSCIDR, "192.0.2.0-192.0.2.255", "2001:db8::-2001:db8::ffff"))
	want := "full:full.test below:below.test suffix:suffix.test regexp:end\\.test$ keyword:key regexp:^r\\d 192.0.2.0/24 2001:db8::/112"
	or := bytes.Join([][]byte{{1, 1, 2}, rulesettest.SRSRule(0, rulesettest.SRSNames("a.test")), rulesettest.SRSRule(0, rulesettest.SRSTexts(rulesettest.SRSKeyword, "bb")), {0}}, nil)
	and := bytes.Join([][]byte{{1, 0, 2}, rulesettest.SRSRule(0, rulesettest.SRSNames("a.test")), rulesettest.SRSRule(1, rulesettest.SRSTexts(rulesettest.SRSKeyword, "bb")), {0}}, nil)
	for _, tt := range []struct {
		name    string
		version byte
		rules   [][]byte
		want    string
	}{
		{"all that can be said", 1, [][]byte{full}, want},
		{"version 4", 4, [][]byte{full}, want},
		{"inverted", 2, [][]byte{rulesettest.SRSRule(1, rulesettest.SRSNames("a.test"))}, "! " + reasonInvert},
		{"ports", 2, [][]byte{rulesettest.SRSRule(0, rulesettest.SRSNames("a.test"), []byte{9, 1, 0, 80})}, "! it matches some packets only (condition of type 9)"},
		{"sources", 2, [][]byte{rulesettest.SRSRule(0, rulesettest.SRSNames("a.test"), rulesettest.SRSRanges(rulesettest.SRSSourceCIDR, "10.0.0.0-10.0.0.1"))}, "! it matches some packets only (condition of type 5)"},
		{"interfaces", 4, [][]byte{rulesettest.SRSRule(0, []byte{rulesettest.SRSInterfaces, 1, 0, 1, 4, 10, 0, 0, 0, 8}), rulesettest.SRSRule(0, rulesettest.SRSNames("a.test"))},
			"full:a.test ! it matches some packets only (condition of type 21)"},
		{"adguard", 3, [][]byte{rulesettest.SRSRule(0, append([]byte{rulesettest.SRSAdGuard, 0}, rulesettest.Trie(rulesettest.Uvarint, "x")...)), rulesettest.SRSRule(0, rulesettest.SRSNames("a.test"))},
			"full:a.test ! it matches some packets only (condition of type 16)"},
		{"or", 2, [][]byte{or}, "full:a.test keyword:bb"},
		{"and", 2, [][]byte{and}, "! " + reasonAnd},
		{"nothing", 2, [][]byte{rulesettest.SRSRule(0)}, "! " + reasonNoCondition},
	} {
		got, r, err := readSelected(t, "x.srs", string(rulesettest.SRSFile(tt.version, tt.rules...)), "")
		for _, s := range r.Samples {
			got = strings.TrimPrefix(got+" ! "+s.Reason, " ")
		}
		if err != nil || sortedWords(got) != sortedWords(tt.want) || r.Format != "srs" {
			t.Errorf("%s: %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
}

func sortedWords(s string) string {
	w := strings.Fields(s)
	slices.Sort(w)
	return strings.Join(w, " ")
}

func TestSRSDamage(t *testing.T) {
	good := rulesettest.SRSFile(2, rulesettest.SRSRule(0, rulesettest.SRSNames("a.test", "b.test"), rulesettest.SRSTexts(rulesettest.SRSKeyword, "key")))
	for n := range good {
		if _, _, err := readSelected(t, "x.srs", string(good[:n]), ""); err == nil && n > 3 {
			t.Errorf("cut after %d of %d bytes: no error", n, len(good))
		}
	}
	huge := binary.AppendUvarint(nil, 1<<62)
	for name, rule := range map[string][]byte{
		"leaves":   append([]byte{0, rulesettest.SRSDomain, 0}, huge...),
		"bitmap":   append(append([]byte{0, rulesettest.SRSDomain, 0, 0}, huge...), 0, 0),
		"labels":   append([]byte{0, rulesettest.SRSDomain, 0, 0, 0}, huge...),
		"texts":    append([]byte{0, rulesettest.SRSKeyword}, huge...),
		"text":     append([]byte{0, rulesettest.SRSKeyword, 1}, huge...),
		"ports":    append([]byte{0, 9}, huge...),
		"ranges":   append([]byte{0, rulesettest.SRSCIDR, 1}, bytes.Repeat([]byte{0xff}, 8)...),
		"parts":    append([]byte{1, 1}, huge...),
		"deep":     bytes.Repeat([]byte{1, 1, 1}, 1000),
		"trie":     {0, rulesettest.SRSDomain, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c', rulesettest.SRSFinal, 0},
		"orphan":   {0, rulesettest.SRSDomain, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 'a', rulesettest.SRSFinal, 0},
		"type":     {7},
		"item":     {0, 99},
		"backward": append(append([]byte{0}, rulesettest.SRSRanges(rulesettest.SRSCIDR, "192.0.2.9-192.0.2.1")...), rulesettest.SRSFinal, 0),
	} {
		used, err := allocated(func() error {
			_, _, err := readSelected(t, "x.srs", string(rulesettest.SRSFile(2, rule)), "")
			return err
		})
		if err == nil || used > 16<<20 {
			t.Errorf("%s: error %v, %d bytes allocated", name, err, used)
		}
	}
	for _, version := range []byte{0, ruleset.MaxVersion + 1} {
		if _, _, err := readSelected(t, "x.srs", string(rulesettest.SRSFile(version)), ""); err == nil || err.Error() != fmt.Sprintf("srs: version %d: known are 1 to 5", version) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestMRS(t *testing.T) {
	got, r, err := readSelected(t, "x.mrs", rulesettest.MRSFile(0, rulesettest.Trie(rulesettest.Int64, "+.suffix.test", "full.test", "*.one.test")), "")
	want := `below:suffix.test full:full.test regexp:^[^.]+\.one\.test$`
	if err != nil || sortedWords(got) != sortedWords(want) || r.Format != "mrs" {
		t.Errorf("domains: %s, %+v, %v", got, r, err)
	}
	pair := func(first, last string) []byte {
		a, b := netip.MustParseAddr(first).As16(), netip.MustParseAddr(last).As16()
		return append(a[:], b[:]...)
	}
	text := rulesettest.MRSFile(1, slices.Concat(rulesettest.Int64(nil, 2), pair("192.0.2.0", "192.0.2.127"), pair("2001:db8::", "2001:db8::1")))
	if got, _, err := readSelected(t, "x.mrs", text, ""); err != nil || got != "192.0.2.0/25 2001:db8::/127" {
		t.Errorf("addresses: %s, %v", got, err)
	}
	for _, bad := range []string{rulesettest.MRSFile(2, nil), rulesettest.MRSFile(0, rulesettest.Int64(nil, 1<<60)), rulesettest.MRSFile(1, rulesettest.Int64(nil, 5)), "MRS\x01"} {
		if _, _, err := readSelected(t, "x.mrs", bad, ""); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestSingbox(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"version":1,"rules":[{"domain":["a.test"],"domain_suffix":["b.test",".c.test"],"domain_keyword":"k1","domain_regex":"^r","ip_cidr":["192.0.2.0/24","2001:db8::1"]}]}`,
			"full:a.test suffix:b.test below:c.test keyword:k1 regexp:^r 192.0.2.0/24 2001:db8::1/128"},
		{`{"rules":[{"domain":"a.test"},{"domain_suffix":"b.test"}],"version":4}`, "full:a.test suffix:b.test"},
		{`{"version":2,"rules":[{"domain":"a.test","port":[80,443]}]}`, "! it matches some packets only (port)"},
		{`{"version":2,"rules":[{"domain":"a.test","invert":true}]}`, "! " + reasonInvert},
		{`{"version":3,"rules":[{"domain":"a.test","network_interface_address":{"wifi":["2000::/3"]}}]}`, "! it matches some packets only (network_interface_address)"},
		{`{"version":3,"rules":[{"type":"logical","mode":"or","rules":[{"domain":"a.test"},{"type":"logical","mode":"or","rules":[{"domain":"b.test"}]}]}]}`, "full:a.test full:b.test"},
		{`{"version":3,"rules":[{"type":"logical","mode":"and","rules":[{"domain":"a.test"}]}]}`, "! " + reasonAnd},
		{`{"version":3,"rules":[{"type":"logical","mode":"or","rules":[{"domain":"a.test"},{"type":"logical","mode":"and","rules":[{"domain":"b.test"}]}]}]}`, "full:a.test ! " + reasonAnd},
		{`{"version":3,"rules":[{"domain":"Bücher.test"},{"domain":"a..b"}]}`, "full:xn--bcher-kva.test ! " + entry.ReasonLabel},
	} {
		got, r, err := readSelected(t, "x.json", tt.text, "")
		for _, s := range r.Samples {
			got = strings.TrimPrefix(got+" ! "+s.Reason, " ")
		}
		if err != nil || got != tt.want || r.Format != "singbox" {
			t.Errorf("%s: %s, %v\nwant %s", tt.text, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		`{"version":6,"rules":[]}`, `{"version":1}`, `{"version":1,"rules":[{"domain":[1]}]}`, `{"version":1,"rules":[{"domain":{}}]}`,
		`{"version":1,"rules":[{"ip_cidr":"x"}]}`, `{"version":1,"rules":[`, `{"version":1,"rules":[{"domain":["a.test"`,
		`{"version":1,"rules":[{"domain":"` + strings.Repeat("a", maxLine+9) + `"}]}`,
		`{"version":1,"rules":` + strings.Repeat(`[`, 5000), `{"rules":"x"}`,
	} {
		if _, _, err := readSelected(t, "x.json", bad, ""); err == nil {
			t.Errorf("%.80s: no error", bad)
		}
	}
}
