package learned

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/firewall"
	"github.com/nameroute/nameroute/gateway/nft"
)

// replicaList is the replica's listing as if it were the ordinary table's.
func replicaList(t *testing.T) string {
	t.Helper()
	out := sh(t, "nft list table inet nameroute_replica | sed '/flags owner/d; s/nameroute_replica.*{.*/nameroute {/'")
	return strings.Replace(out, "{\n\n", "{\n", 1)
}

func TestReplica(t *testing.T) {
	var told losses
	k := open(t, Options{Force: nft.ModeReplica, OnLoss: told.add})
	if !k.Features().Owner {
		t.Skip("this kernel has no owned tables")
	}
	applyTwice(t, k, full())
	want := firewall.Desired(full()).String()
	for name, got := range map[string]string{"ordinary": listTable(t), "owned": replicaList(t)} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s table, -want +got:\n%s", name, diff)
		}
	}
	applyTwice(t, k, small())
	learn(t, k, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
	both := func() {
		t.Helper()
		for _, table := range []string{"nameroute", "nameroute_replica"} {
			for set, a := range map[string]string{"vpn4": "8.8.8.8", "vpn6": "2606:4700::1"} {
				if got := inKernel(t, k, nft.SetRef{Family: "inet", Table: table, Name: set}, a); !about(got, time.Hour) {
					t.Errorf("%s lives %v in table %s", a, got, table)
				}
			}
		}
	}
	both()
	if out, err := try("nft delete table inet nameroute_replica"); err == nil {
		t.Errorf("the replica can be deleted: %s", out)
	}
	for i, by := range []string{"nft flush ruleset", "nft delete table inet nameroute", "nft flush chain inet nameroute classify"} {
		sh(t, "%s", by)
		t.Logf("%s: restored after %v", by, awaitRestored(t, "8.8.8.8", "2606:4700::1"))
		eventually(t, 10*restored, func() bool { return len(told.seen()) > i })
		learn(t, k, vpn, time.Minute, "8.8.8.8", "2606:4700::1")
		both()
		if n := apply(t, k, small()); n != 0 {
			t.Errorf("after %s: %d changes", by, n)
		}
	}

	other := openMore(t, Options{Force: nft.ModePlain})
	if _, err := other.Apply(t.Context(), firewall.Desired(small())); !errors.Is(err, nft.ErrOwned) {
		t.Errorf("a second process: %v", err)
	}
	if err := other.Remove(t.Context()); !errors.Is(err, nft.ErrOwned) {
		t.Errorf("a second process removes: %v", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "nft list tables"); out != "table inet nameroute\n" {
		t.Errorf("after the end there is: %s", out)
	}
	heir := openMore(t, Options{Force: nft.ModeReplica})
	applyTwice(t, heir, small())
	k = heir
	both()
	if err := heir.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := sh(t, "nft list tables"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestStaleTwin: a ruleset that was stored with both copies and loaded again has a
// second table without an owner. It must not go on routing what we let go.
func TestStaleReplica(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		k := open(t, Options{Force: m})
		sh(t, "nft add table inet nameroute_replica; nft add set inet nameroute_replica vpn4 '{ type ipv4_addr; flags timeout; }'")
		applyTwice(t, k, small())
		out, err := try("nft list set inet nameroute_replica vpn4; nft add table inet nameroute_replica")
		if err == nil {
			t.Errorf("the stale replica is still there:\n%s", out)
		}
		if exists, err := nft.TableExists(gateway.TableName); !exists || err != nil {
			t.Errorf("exists %v, %v", exists, err)
		}
	})
}

// TestTwinsOfMany: a flush takes only one of many elements' two places, and a broken
// socket only the other.
func TestReplicaOfMany(t *testing.T) {
	var told losses
	k := open(t, Options{Force: nft.ModeReplica, OnLoss: told.add})
	apply(t, k, small())
	const n = 9000
	learnMany(t, k, 8, n)
	for i, lose := range []func(){
		func() { sh(t, "nft flush ruleset") },
		func() {
			if err := k.do(t.Context(), func() error { return k.nft.Close() }); err != nil {
				t.Fatal(err)
			}
			learn(t, k, vpn, 2*time.Hour, "8.0.0.1")
		},
	} {
		lose()
		eventually(t, time.Second*slack, func() bool { return len(told.seen()) > i })
		for _, table := range []string{"nameroute", "nameroute_replica"} {
			awaitElements(t, k, nft.SetRef{Family: "inet", Table: table, Name: "vpn4"}, n)
		}
	}
}

// TestStoppedTwice: what the kill switch of two tables dropped is counted once.
func TestStoppedTwice(t *testing.T) {
	k := open(t, Options{Force: nft.ModeReplica})
	apply(t, k, small())
	sh(t, `ip link add d0 type veth peer name d1; ip link set d0 up; ip link set d1 up; ip addr add 198.18.0.1/24 dev d0; ip route add default via 198.18.0.2; ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:01 dev d0`)
	t.Cleanup(func() { sh(t, "ip link del d0") })
	learn(t, k, vpn, time.Hour, "8.8.8.8")
	_, _ = try("ping -c 3 -i 0.01 -W 0.2 8.8.8.8")
	got, err := stoppedBy()
	if want := (map[string]nft.Counter{"vpn": {Packets: 3, Bytes: 3 * 84}}); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("stopped %v, %v", got, err)
	}
}

// awaitRestored waits until our ordinary table has these elements, and returns how long that took.
func awaitRestored(t *testing.T, addrs ...string) time.Duration {
	t.Helper()
	began := time.Now()
	eventually(t, restored, func() bool {
		return !slices.ContainsFunc(addrs, func(a string) bool { return !has(t, *vpn.Of(addr(a)), a) })
	})
	return time.Since(began).Round(time.Millisecond)
}

// learnMany learns n addresses below 8.0.0.0, or another first number.
func learnMany(t testing.TB, k *Store, first byte, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var as []string
		for i := from; i < min(from+1000, n); i++ {
			as = append(as, fmt.Sprintf("%d.%d.%d.%d", first, i>>16, i>>8&255, i&255))
		}
		learn(t, k, vpn, time.Hour, as...)
	}
}
