package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestDnsmasq(t *testing.T) {
	runFormat(t, "dnsmasq", []formatCase{
		{"server=/example.com/114.114.114.114", "suffix:example.com"},
		{"server=/a.example/b.example/192.0.2.1#53@eth0", "suffix:a.example suffix:b.example"},
		{"server=/example.com/", "suffix:example.com"},
		{"server = /example.com/2001:db8::1 # comment", "suffix:example.com"},
		{"local=/example.com/", "suffix:example.com"},
		{"address=/example.com/0.0.0.0", "suffix:example.com"},
		{"address=/example.com/#", "suffix:example.com"},
		{"ipset=/example.com/example.org/vpn,vpn6", "suffix:example.com suffix:example.org"},
		{"nftset=/example.com/4#inet#fw4#vpn4,6#inet#fw4#vpn6", "suffix:example.com"},
		{"server=/out.example.com/#", "except specific suffix:out.example.com"},
		{"local=/a.example/b.example/#", "except specific suffix:a.example except specific suffix:b.example"},
		{"server=/*.example.com/#", "except specific below:example.com"},
		{"server=/*.example.com/192.0.2.1", "below:example.com"},
		{"server=/*example.com/192.0.2.1", `regexp:example\.com$`},
		{"server=/.example.com/192.0.2.1", "suffix:example.com"},
		{"server=/Bücher.example/192.0.2.1", "suffix:xn--bcher-kva.example"},
		{"#server=/example.com/192.0.2.1", ""},
		{"server=192.0.2.1", "! " + reasonDnsmasq},
		{"no-resolv", "! " + reasonDnsmasq},
		{"server=/example.com", "! " + reasonDnsmasq},
		{"server=//192.0.2.1", "! " + reasonUnqualified},
		{"server=/#/192.0.2.1", "! " + entry.ReasonEveryName},
		{"server=/*example.com/#", "! " + reasonWildExcept},
		{"server=/good.example/bad..example/192.0.2.1", "suffix:good.example ! " + entry.ReasonLabel},
	})
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
