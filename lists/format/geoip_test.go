package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

func TestGeoIP(t *testing.T) {
	text := string(rulesettest.Dat("CN", rulesettest.CIDR("192.0.2.0/24"), rulesettest.CIDR("2001:db8::/32"))) + string(rulesettest.Dat("JP", rulesettest.CIDR("198.51.100.0/24")))
	got, r, err := readSelected(t, "geoip.dat", text, "cn")
	if err != nil || got != "192.0.2.0/24 2001:db8::/32" || r.Format != "geoip" || r.Prefixes != 2 {
		t.Errorf("%s, %+v, %v", got, r, err)
	}
	if _, _, err := readSelected(t, "geoip.dat", text, "jx"); err == nil || err.Error() != `geoip: category "jx": unknown; the nearest of 2 is "jp"` {
		t.Errorf("jx: %v", err)
	}
}
