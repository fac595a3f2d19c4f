package format

import (
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

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
