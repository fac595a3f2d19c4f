package wg

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestPick(t *testing.T) {
	four, six, other := addr("192.0.2.1"), addr("2001:db8::1"), addr("192.0.2.2")
	all := []netip.Addr{other, four, six}
	tests := []struct {
		name    string
		current netip.Addr
		next    bool
		dead    []netip.Addr
		want    netip.Addr
	}{
		{"IPv6 first", netip.Addr{}, false, nil, six},
		{"IPv4 where the WAN has no IPv6", netip.Addr{}, false, []netip.Addr{six}, other},
		{"current is kept", four, false, nil, four},
		{"current is gone from the answer", addr("192.0.2.99"), false, nil, six},
		{"current cannot be reached", six, false, []netip.Addr{six}, other},
		{"no WAN yet", netip.Addr{}, false, all, six},
		{"no WAN, current is kept", four, false, all, four},
		{"next", six, true, nil, four},
		{"next again", four, true, nil, other},
		{"next in turn", other, true, nil, six},
		{"next without another", four, true, []netip.Addr{six, other}, four},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := pick(all, tt.current, tt.next, func(a netip.Addr) bool { return !slices.Contains(tt.dead, a) })
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

type fixed map[string][]netip.Addr

func (f fixed) LookupNetIP(_ context.Context, host string) ([]netip.Addr, error) {
	if a, ok := f[host]; ok {
		return a, nil
	}
	return nil, errors.New("resolve " + host + ": no such name")
}

func TestEndpointsSurviveOneFailedName(t *testing.T) {
	netlab.Need(t)
	c := mustParse(t, head+
		"[Peer]\nPublicKey="+keyPeer+"\nAllowedIPs=0.0.0.0/0\nEndpoint=gone.example:1\n"+
		"[Peer]\nPublicKey="+keyTwo+"\nAllowedIPs=10.0.0.0/8\nEndpoint=here.example:2\n"+
		"[Peer]\nPublicKey="+keyPSK+"\nAllowedIPs=10.1.0.0/16\n")
	got, err := Endpoints(t.Context(), c, Ask{Resolver: fixed{"here.example": {addr("127.0.0.1")}}})
	if want := "wg0.conf:4: endpoint: resolve gone.example: no such name"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	want := map[wgtypes.Key]netip.AddrPort{mustKey(t, keyTwo): netip.MustParseAddrPort("127.0.0.1:2")}
	if len(got) != 1 || got[mustKey(t, keyTwo)] != want[mustKey(t, keyTwo)] {
		t.Errorf("got %v", got)
	}
}

// An address family that the WAN has no route for is not chosen, although the name has
// an address of it.
func TestEndpointOfReachableFamily(t *testing.T) {
	netlab.Need(t, "ip")
	run(t, "ip link add v-ep type veth peer name v-ep1")
	t.Cleanup(func() {
		try("ip rule del fwmark 0x7f000000/0x7f000000")
		try("ip -6 rule del fwmark 0x7f000000/0x7f000000")
		try("ip link del v-ep")
	})
	for _, line := range []string{
		"ip addr add 192.0.21.1/32 dev v-ep", "ip addr add 2001:db8:21::1/128 dev v-ep nodad", "ip link set v-ep up", "ip link set v-ep1 up",
		"ip rule add fwmark 0x7f000000/0x7f000000 lookup 7327", "ip -6 rule add fwmark 0x7f000000/0x7f000000 lookup 7327",
		"ip route add 192.0.2.0/24 dev v-ep table 7327",
	} {
		run(t, "%s", line)
	}
	c := mustParse(t, strings.Replace(head+peer, "192.0.2.1:51820", "both.example:51820", 1))
	ask := Ask{
		Resolver: fixed{"both.example": {addr("2001:db8::9"), addr("192.0.2.9")}},
		Mark:     gateway.Mark{Value: wanMark, Mask: 0x7f000000},
	}
	key := mustKey(t, keyPeer)
	got, err := Endpoints(t.Context(), c, ask)
	if want := netip.MustParseAddrPort("192.0.2.9:51820"); err != nil || got[key] != want {
		t.Errorf("IPv4 only: got %v %v, want %v", got[key], err, want)
	}
	run(t, "ip route add 2001:db8::/64 dev v-ep table 7327")
	got, err = Endpoints(t.Context(), c, ask)
	if want := netip.MustParseAddrPort("[2001:db8::9]:51820"); err != nil || got[key] != want {
		t.Errorf("both families: got %v %v, want %v", got[key], err, want)
	}
}
