package dataplane

import (
	"net/netip"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
)

// A route with `match:` resets only flows whose packets would take it.
func TestEvictionOfMatch(t *testing.T) {
	a := netip.MustParseAddr("30.1.2.3")
	route := gateway.Route{Name: "vpn", Evict: true, Match: &gateway.Match{Protocols: []uint8{gateway.ProtoTCP}, Ports: []gateway.PortRange{{From: 80, To: 80}, {From: 400, To: 443}}}}
	w := eviction{routes: []joining{{route: route, learned: map[netip.Addr]bool{a: true}}}}
	for _, c := range []struct {
		proto uint8
		port  uint16
		want  bool
	}{
		{gateway.ProtoTCP, 80, true}, {gateway.ProtoTCP, 443, true}, {gateway.ProtoTCP, 400, true},
		{gateway.ProtoTCP, 81, false}, {gateway.ProtoTCP, 444, false}, {gateway.ProtoUDP, 443, false}, {1, 0, false},
	} {
		if got := w.route(conntrack.Flow{Dst: a, To: a, Proto: c.proto, Port: c.port}) != nil; got != c.want {
			t.Errorf("protocol %d, port %d: reset %v, want %v", c.proto, c.port, got, c.want)
		}
	}
}
