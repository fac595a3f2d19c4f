package format

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

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
