package probe

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// A family without its policy rule is not called good because the other one has its own.
func TestRulesOfBothFamilies(t *testing.T) {
	netlab.Need(t, "ip")
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", args, err, out)
		}
	}
	vpn := gateway.Route{Name: "vpn", Number: 1, Mark: gateway.DefaultMask.Mark(1), Table: 7201, Priority: 7201}
	vpn.Egress.Kind = gateway.EgressInterface
	cfg := &gateway.Config{Mask: gateway.DefaultMask, Priority: gateway.DefaultPriority, Routes: []gateway.Route{vpn}}
	const rule = "rule add fwmark 0x01000000/0x7f000000 lookup 7201 pref 7201"
	for _, c := range []struct {
		add   string
		level status.Level
		text  string
	}{
		{"link set lo up", status.LevelUnknown, "route vpn: no policy rule leads to it, so"},
		{"-4 " + rule, status.LevelUnknown, "route vpn: no policy rule leads to it over IPv6, so"},
		{"-6 " + rule, status.LevelOK, "route vpn: it has no way out now"},
		{"-4 rule del pref 7201", status.LevelUnknown, "route vpn: no policy rule leads to it over IPv4, so"},
	} {
		ip(c.add)
		if f := Egresses(cfg)[0]; f.Level != c.level || !strings.HasPrefix(f.Text, c.text) {
			t.Errorf("after ip %s: %+v", c.add, f)
		}
	}
	ip("-6 rule del pref 7201")
}
