package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

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
