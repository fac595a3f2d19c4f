package neighbour

import (
	"net/netip"
	"os/exec"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// Addresses of one host are told from those of others, and from those that no host answers
// for; what is behind a router is that router's.
func TestOf(t *testing.T) {
	netlab.Need(t, "ip")
	if out, err := exec.Command("sh", "-ec", `ip link add lan0 type veth peer name far0
ip addr add 192.168.1.1/24 dev lan0; ip addr add fd00:1::1/64 dev lan0 nodad; ip link set lan0 up; ip link set far0 up
for a in 192.168.1.10 192.168.1.11 fd00:1::10 fe80::10; do ip neigh add $a lladdr 02:00:00:00:00:10 dev lan0; done
ip neigh add 192.168.1.20 lladdr 02:00:00:00:00:20 dev lan0
ip route add 10.9.0.0/16 via 192.168.1.20`).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "link", "del", "lan0").CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	of := func(a string) Host { return Of(netip.MustParseAddr(a)) }
	one, router := of("192.168.1.10"), of("192.168.1.20")
	if !one.Known || !router.Known || one == router {
		t.Errorf("hosts: %+v, %+v", one, router)
	}
	for a, want := range map[string]Host{
		"192.168.1.11": one, "::ffff:192.168.1.11": one, "fd00:1::10": one, "fe80::10%lan0": one, "10.9.1.1": router, "10.9.2.2": router,
		"192.168.1.99": {Link: one.Link}, "fd00:1::99": {Link: one.Link}, "8.8.8.8": {}, "fe80::10": {}, "fe80::10%none": {},
	} {
		if got := of(a); got != want {
			t.Errorf("%s: %+v, want %+v", a, got, want)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	a := netip.MustParseAddr("192.168.1.10")
	for b.Loop() {
		Of(a)
	}
}
