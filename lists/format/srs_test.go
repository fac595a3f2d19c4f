package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

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
