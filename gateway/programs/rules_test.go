package programs

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/policy"
)

func TestUsers(t *testing.T) {
	cfg, err := config.Parse("gateway.yaml", []byte(`exclude: [192.0.2.0/24]
clients:
  torrent: {user: [torrent], route: vpn}
  backup: {user: [backup], route: wan}
  falls: {user: [falls], route: back}
  free: {user: [free]}
routes:
  vpn: {interface: tun0, mark: 0x01000000}
  back: {interface: tun1, mark: 0x02000000, on_down: wan}
`))
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Inputs{
		KernelFamilies: []gateway.Family{gateway.V4},
		Links:          []policy.Link{{Name: "tun0", Addrs: []netip.Addr{netip.MustParseAddr("10.8.0.2"), netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fe80::1")}}, {Name: "tun1", Addrs: []netip.Addr{netip.MustParseAddr("10.9.0.2")}}},
	}
	found := map[string]gateway.Programs{"torrent": {UIDs: []uint32{106, 107}}, "backup": {UIDs: []uint32{34}}, "falls": {UIDs: []uint32{5}}, "free": {UIDs: []uint32{6}}}
	var state policy.State
	AddRules(cfg, in, found, &state)
	var got []string
	for line := range strings.Lines(state.String()) {
		if !strings.HasPrefix(line, "#") {
			got = append(got, strings.Replace(strings.TrimSpace(line), "\t", " ", 1))
		}
	}
	const to = "7200: from all to 192.0.2.0/24 fwmark 0/0x7f000000 uidrange "
	want := []string{
		"7200: from all fwmark 0/0x7f000000 uidrange 34-34 lookup main suppress_prefixlength 1 proto 110",
		to + "106-106 lookup main proto 110",
		to + "107-107 lookup main proto 110",
		to + "34-34 lookup main proto 110",
		"7201: from 10.8.0.2 fwmark 0/0x7f000000 lookup 7201 proto 110",
		"7201: from all fwmark 0/0x7f000000 uidrange 106-106 lookup 7201 proto 110",
		"7201: from all fwmark 0/0x7f000000 uidrange 107-107 lookup 7201 proto 110",
		"7327: from all fwmark 0/0x7f000000 uidrange 34-34 lookup 7327 proto 110",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
