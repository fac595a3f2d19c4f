package format

import (
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

func TestSmartdns(t *testing.T) {
	runFormat(t, "smartdns", []formatCase{
		{"nameserver /a.example/group", "suffix:a.example"},
		{"nameserver /*.a.example/group", "below:a.example"},
		{"nameserver /-.a.example/group", "full:a.example"},
		{"nameserver /*-a.example/group", `regexp:-a\.example$`},
		{"nameserver /a.example/-", "except specific suffix:a.example"},
		{"address /a.example/#", "suffix:a.example"},
		{"address /a.example/192.0.2.1", "suffix:a.example"},
		{"address /a.example/-", "except specific suffix:a.example"},
		{"ipset /a.example/vpn", "suffix:a.example"},
		{"ipset /a.example/[#4:vpn4,#6:vpn6]", "suffix:a.example"},
		{"nftset /a.example/#4:inet#fw4#vpn4,#6:inet#fw4#vpn6", "suffix:a.example"},
		{"nftset /a.example/#4:-,#6:-", "except specific suffix:a.example"},
		{"nftset /a.example/#4:-,#6:inet#fw4#vpn6", "suffix:a.example"},
		{"domain-rules /a.example/ -c none -n group # x", "suffix:a.example"},
		{"domain-rules /domain-set:ads/ -a #", "! " + reasonDomainSet},
		{"domain-set -name ads -file /etc/ads.txt", "! " + reasonDomainSet},
		{"nameserver /*-a.example/-", "! " + reasonWildExcept},
		{"nameserver /./group", "! " + entry.ReasonEveryName},
		{"server 192.0.2.1", "! " + reasonSmartdns},
		{"ipset vpn", "! " + reasonSmartdns},
		{"# comment", ""},
	})
}

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

func TestNFTSet(t *testing.T) {
	runFormat(t, "nftset", []formatCase{
		{"add table inet global", ""},
		{"add set inet global chnroute { type ipv4_addr; flags interval; }", ""},
		{"add element inet global chnroute { 192.0.2.0/24 }", "192.0.2.0/24"},
		{"add element inet t s { 192.0.2.1, 2001:db8::/32 timeout 1h, 198.51.100.0-198.51.100.3 }", "192.0.2.1/32 2001:db8::/32 198.51.100.0/30"},
		{"elements = { 192.0.2.0/25,\n  192.0.2.128/25 }\n", "192.0.2.0/25 192.0.2.128/25"},
		{"add chn 192.0.2.0/24", "192.0.2.0/24"},
		{"-A chn 192.0.2.0/24", "192.0.2.0/24"},
		{"create chn hash:net family inet", ""},
		{"add element inet t s { 198.51.100.9-198.51.100.3 }", "! " + entry.ReasonRange},
		{"add element inet t s { vpn0 }", "! " + reasonNFT},
		{"example.com", "! " + reasonNFT},
	})
}

func TestDelegated(t *testing.T) {
	text := "2|apnic|20260101|3|19850701|20260101|+1000\napnic|*|ipv4|*|2|summary\n" +
		"apnic|CN|ipv4|192.0.2.0|256|20110414|allocated\napnic|CN|ipv4|198.51.100.0|768|20110414|allocated\n" +
		"apnic|CN|ipv6|2001:db8::|32|20110414|assigned|x\napnic|CN|asn|64500|1|20110414|allocated\n" +
		"apnic|JP|ipv4|203.0.113.0|256|20110414|allocated\napnic||ipv4|203.0.113.0|256||available\n"
	got, r, err := readSelected(t, "delegated-apnic-latest", text, "cn")
	if err != nil || got != "192.0.2.0/24 198.51.100.0/23 198.51.102.0/24 2001:db8::/32" || r.Skipped != 0 || r.Lines != 3 {
		t.Errorf("CN: %s, %+v, %v", got, r, err)
	}
	if _, _, err = readSelected(t, "delegated-apnic-latest", text, "JX"); err == nil || err.Error() != `delegated: category "JX": unknown; the nearest of 2 is "jp"` {
		t.Errorf("JX: %v", err)
	}
	if _, _, err = readSelected(t, "delegated-apnic-latest", text, ""); err == nil {
		t.Error("without a country")
	}
	_, r, err = readSelected(t, "ff", "a|CN|ipv4|255.255.255.0|512|1|x\na|CN|ipv4|x|1|1|x\na|CN|ipv6|::|129|1|x\na|CN|ipv4|192.0.2.0|99999999999|1|x\n", "CN")
	if err != nil || r.Skipped != 4 || r.Prefixes != 0 {
		t.Errorf("impossible lines: %+v, %v", r, err)
	}
}

func TestDnsmasqOtherLines(t *testing.T) {
	runFormat(t, "dnsmasq", []formatCase{
		{"conf-file=/etc/more.conf", "! " + reasonOtherFile},
		{"servers-file=/etc/more.conf", "! " + reasonOtherFile},
		{"rev-server=192.0.2.0/24,192.0.2.1", "! " + reasonReverse},
		{"nftset=/a.example/b.example/4#inet#fw4#vpn4,6#inet#fw4#vpn6", "suffix:a.example suffix:b.example"},
		{"ipset=/a.example/vpn", "suffix:a.example"},
		{"local=/a.example/b.example/", "suffix:a.example suffix:b.example"},
		{"server=/a.example/192.0.2.1#5353@wg0", "suffix:a.example"},
		{"server=/a.example/fe80::1%eth0", "suffix:a.example"},
		{"address=/a.example/", "suffix:a.example"},
	})
}
