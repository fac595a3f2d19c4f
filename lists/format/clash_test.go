package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestClash(t *testing.T) {
	runFormat(t, "clash", []formatCase{
		{"payload:", ""},
		{"payload: []", ""},
		{"payload: ['a.example']", "! " + reasonClashList},
		{"---", ""},
		{"  - '+.a.example'", "suffix:a.example"},
		{"  - \"+.a.example\" # c", "suffix:a.example"},
		{"- .a.example", "below:a.example"},
		{"- a.example", "full:a.example"},
		{"+.a.example", "suffix:a.example"},
		{"a.example", "full:a.example"},
		{"*.a.example", `regexp:^[^.]+\.a\.example$`},
		{"*.*.a.example", `regexp:^[^.]+\.[^.]+\.a\.example$`},
		{"a.*.example", `regexp:^a\.[^.]+\.example$`},
		{".*.a.example", `regexp:^.+\.[^.]+\.a\.example$`},
		{"*", "! " + entry.ReasonEveryName},
		{"*.bücher.example", `regexp:^[^.]+\.xn--bcher-kva\.example$`},
		{"a*.example", "! " + entry.ReasonChar},
		{"192.0.2.0/24", "192.0.2.0/24"},
		{"- '2001:db8::/32'", "2001:db8::/32"},
		{"DOMAIN,a.example", "full:a.example"},
		{"- DOMAIN-SUFFIX,a.example", "suffix:a.example"},
		{"DOMAIN-SUFFIX,.a.example,Proxy", "suffix:a.example"},
		{"DOMAIN-KEYWORD,tube", "keyword:tube"},
		{`DOMAIN-REGEX,^a{1,2}\.example$`, `regexp:^a{1,2}\.example$`},
		{`- 'DOMAIN-REGEX,^it''s'`, `regexp:^it's`},
		{`- "DOMAIN-REGEX,^a\\.b$"`, `regexp:^a\.b$`},
		{"DOMAIN-WILDCARD,a*.example", `regexp:^a.*\.example$`},
		{"DOMAIN-WILDCARD,a?.example", "! " + reasonClash},
		{"IP-CIDR,192.0.2.0/24,no-resolve", "192.0.2.0/24"},
		{"IP-CIDR6,2001:db8::/32", "2001:db8::/32"},
		{"IP-CIDR,example", "! " + entry.ReasonPrefix},
		{"PROCESS-NAME,curl", "! " + reasonClash},
		{"GEOSITE,cn", "! " + reasonClash},
		{"# comment", ""},
	})
}
