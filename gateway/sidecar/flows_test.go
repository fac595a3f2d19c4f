package sidecar

import (
	"fmt"
	"net"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/conntrack"
	"github.com/nameroute/nameroute/test/netlab"
)

// TestFlowsOfRemovedRoutes: guarantee 4, kill switch. The flows of a removed route are
// found by their label where another program has overwritten their ct mark; those of other
// routes and of the WAN stay.
func TestFlowsOfRemovedRoutes(t *testing.T) {
	netlab.Need(t, "conntrack", "nft")
	t.Cleanup(func() { run(t, "nft delete table inet flows; conntrack -F 2>/dev/null || :") })
	run(t, `ip link set lo up; conntrack -F 2>/dev/null || :; nft -f - <<'END'
table inet flows { chain out { type filter hook output priority 0
	udp dport 9001 ct label set 81 ct mark set 1
	udp dport 9002 ct mark set 0x51000001
	udp dport 9003 ct label set 82
	udp dport 9004 ct label set 127
	udp dport 9005 ct mark set 1
}
}
END`)
	for _, to := range []string{"127.0.0.1", "::1"} {
		for port := 9001; port <= 9005; port++ {
			c, err := net.Dial("udp", net.JoinHostPort(to, fmt.Sprint(port)))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write([]byte("x"))
			_ = c.Close()
		}
	}
	if n, err := deleteFlows(gateway.DefaultMask.Mark(127)); n != 0 || err != nil {
		t.Errorf("of the WAN: deleted %d, %v", n, err)
	}
	if n, err := deleteFlows(gateway.DefaultMask.Mark(81)); n != 4 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
	left := map[uint16]int{}
	if err := conntrack.Walk(gateway.Mark{}, func(f conntrack.Flow) { left[f.Port]++ }); err != nil {
		t.Fatal(err)
	}
	for port, want := range map[uint16]int{9001: 0, 9002: 0, 9003: 2, 9004: 2, 9005: 2} {
		if left[port] != want {
			t.Errorf("port %d: %d flows are left, want %d", port, left[port], want)
		}
	}
}
