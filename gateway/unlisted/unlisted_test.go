package unlisted

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/policy"
)

// inputs are a box with an uplink.
func inputs() policy.Inputs {
	return policy.Inputs{
		KernelFamilies: []gateway.Family{gateway.V4},
		Links: []policy.Link{
			{Name: "eth0", Up: true, Running: true, V4: true, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fe80::1")}},
			{Name: "tun0", Up: true, Running: true, Direct: true, V4: true},
		},
		Defaults: []policy.KernelRoute{{Family: gateway.V4, Hops: []policy.Hop{{Via: netip.MustParseAddr("192.0.2.1"), Link: "eth0"}}}},
	}
}

// added are the policy rules that a configuration has besides those of routes.
func added(t *testing.T, yaml string, in policy.Inputs) string {
	t.Helper()
	cfg, err := config.Parse("gateway.yaml", []byte(yaml+"\nexclude: [203.0.113.0/24]\nroutes:\n  vpn: {interface: tun0}\n  soft: {interface: tun1, on_down: wan}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := policy.Desired(cfg, in)
	before := strings.Split(s.String(), "\n")
	Add(&s, cfg, in)
	var rules []string
	for line := range strings.Lines(s.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, "\tfrom ") || strings.Contains(line, "\tnot from ") {
			if !contains(before, line) {
				rules = append(rules, strings.Replace(line, "\t", " ", 1))
			}
		}
	}
	return strings.Join(rules, "\n") + "\n"
}

func contains(all []string, line string) bool {
	for _, l := range all {
		if l == line {
			return true
		}
	}
	return false
}

const excluded = `7330: from all to 169.254.0.0/16 lookup main proto 110
7330: from all to 203.0.113.0/24 lookup main proto 110
7330: from all to 224.0.0.0/4 lookup main proto 110
7330: from all to 255.255.255.255/32 lookup main proto 110
`

// The rules of clients and of the box, in their order.
func TestRules(t *testing.T) {
	const bound = `7331: from 192.0.2.2 iif lo lookup main suppress_prefixlength 1 proto 110
7331: from all iif lo oif eth0 lookup main suppress_prefixlength 1 proto 110
7332: from 192.0.2.2 iif lo lookup 7327 proto 110
7332: from all iif lo oif eth0 lookup 7327 proto 110
`
	for yaml, want := range map[string]string{
		"": "\n",
		"default: {clients: vpn}": "7330: from all iif eth0 lookup main proto 110\n" + excluded + `7336: not from all iif lo lookup 7208 proto 110
7337: not from all iif lo lookup main suppress_prefixlength 1 proto 110
7338: not from all iif lo unreachable proto 110
`,
		"lan: [eth0]\ndefault: {clients: vpn}": excluded + `7336: not from all iif lo lookup 7208 proto 110
7337: not from all iif lo lookup main suppress_prefixlength 1 proto 110
7338: not from all iif lo unreachable proto 110
`,
		"default: {box: vpn}": excluded + bound + `7333: from all iif lo lookup 7208 proto 110
7334: from all iif lo lookup main suppress_prefixlength 1 proto 110
7335: from all iif lo unreachable proto 110
`,
		// Sockets that are bound to one of several links of the WAN leave by that.
		"wan: [eth0, eth1]\ndefault: {box: vpn}": excluded + `7331: from 192.0.2.2 iif lo lookup main suppress_prefixlength 1 proto 110
7331: from all iif lo oif eth0 lookup main suppress_prefixlength 1 proto 110
7331: from all iif lo oif eth1 lookup main suppress_prefixlength 1 proto 110
7332: from 192.0.2.2 iif lo lookup 7311 proto 110
7332: from all iif lo oif eth0 lookup 7311 proto 110
7332: from all iif lo oif eth1 lookup 7274 proto 110
7333: from all iif lo lookup 7208 proto 110
7334: from all iif lo lookup main suppress_prefixlength 1 proto 110
7335: from all iif lo unreachable proto 110
`,
		// It is down, and falls back.
		"default: {box: soft}": excluded + bound + `7333: from all iif lo lookup main suppress_prefixlength 1 proto 110
7334: from all iif lo lookup 7327 proto 110
`,
	} {
		if diff := cmp.Diff(want, added(t, yaml, inputs())); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", yaml, diff)
		}
	}
}
