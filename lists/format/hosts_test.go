package format

import (
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestHosts(t *testing.T) {
	runFormat(t, "hosts", []formatCase{
		{"0.0.0.0 ads.example.com", "full:ads.example.com"},
		{"127.0.0.1\tA.example b.example # c.example", "full:a.example full:b.example"},
		{"::1 six.example", "full:six.example"},
		{"203.0.113.9 any.example", "full:any.example"},
		{"fe80::1%lo0 localhost zone.example", "full:zone.example"},
		{"0.0.0.0 bücher.example", "full:xn--bcher-kva.example"},
		{"127.0.0.1 localhost localhost.localdomain local", ""},
		{"255.255.255.255 broadcasthost", ""},
		{"ff02::1 ip6-allnodes", ""},
		{"0.0.0.0 0.0.0.0", ""},
		{"# 0.0.0.0 x.example", ""},
		{"0 zero.example", "full:zero.example"},
		{"0x0 zero.example", "full:zero.example"},
		{"127.1 short.example", "full:short.example"},
		{"1 first.example", "! " + reasonHosts},
		{"256.1 x.example", "! " + reasonHosts},
		{"0.0.0.0", "! " + reasonHosts},
		{"0.0.0.0 # nothing", "! " + reasonHosts},
		{"example.com", "! " + reasonHosts},
		{"0.0.0.0 good.example bad..example", "full:good.example ! " + entry.ReasonLabel},
	})
}
