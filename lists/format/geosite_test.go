package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

func TestGeosite(t *testing.T) {
	for _, tt := range []struct{ selector, want string }{
		{"netflix", `suffix:netflix.com full:only.netflix.net keyword:nflx regexp:^fast\d\.com$`},
		{"NetFlix", `suffix:netflix.com full:only.netflix.net keyword:nflx regexp:^fast\d\.com$`},
		{"google", "suffix:google.com suffix:ads.google.com full:a.google.cn"},
		{"google@ads", "suffix:ads.google.com full:a.google.cn"},
		{"google@ads@cn", "full:a.google.cn"},
		{"google@ads@-cn", "suffix:ads.google.com"},
		{"google@!ads", "suffix:google.com"},
		{"geo@!cn", "suffix:in.test"}, // an attribute whose name begins with '!'
		{"geo@-!cn", "suffix:out.test"},
	} {
		got, r, err := readSelected(t, "geosite.dat", rulesettest.Geosite(), tt.selector)
		if err != nil || got != tt.want || r.Format != "geosite" {
			t.Errorf("%s: %s, %+v, %v; want %s", tt.selector, got, r, err, tt.want)
		}
	}
	for _, tt := range []struct{ selector, want string }{
		{"netflx", `geosite: category "netflx": unknown; the nearest of 3 is "netflix"`},
		{"something-else", "geosite: category \"something-else\": unknown; there are 3 others: `nameroute lists categories` shows them"},
		{"", "it holds many categories: name one after a colon, FILE:CATEGORY"},
	} {
		if _, _, err := readSelected(t, "geosite.dat", rulesettest.Geosite(), tt.selector); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.selector, err, tt.want)
		}
	}
	_, r, _ := readSelected(t, "geosite.dat", rulesettest.Geosite(), "google")
	if r.Skipped != 2 || r.Samples[0].Reason != reasonRuleType || r.Samples[1].Reason != entry.ReasonLabel || r.Samples[1].Line != 5 {
		t.Errorf("skipped: %+v", r)
	}
}

// TestGeositeCut: a truncated file is an error.
func TestGeositeCut(t *testing.T) {
	all := rulesettest.Geosite()
	for n := 1; n < len(all); n++ {
		_, _, err := readSelected(t, "geosite.dat", all[:n], "geo")
		if err == nil {
			t.Fatalf("cut after %d of %d bytes: no error", n, len(all))
		}
	}
}
