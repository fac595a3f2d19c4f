package wg

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// Whatever another program does to the device is seen by the next Status, and repaired by
// the next Apply.
func TestDriftIsSeenAndRepaired(t *testing.T) {
	f := newFar(t, "fa", 18, "")
	tun := f.open(t, "wga", 18)
	if err := ping(18); err != nil {
		t.Fatal(err)
	}
	want := *tun.want
	peer := want.Peers[0].PublicKey.String()
	for _, do := range []string{
		"wg set wga fwmark 0", "wg set wga peer PEER remove", "wg set wga peer PEER allowed-ips 10.0.0.0/8",
		"wg set wga peer PEER persistent-keepalive 7", "wg set wga peer " + newKey(t).PublicKey().String() + " allowed-ips 10.1.0.0/16",
	} {
		if mustStatus(t, tun).Drifted {
			t.Errorf("before %s: drifted", do)
		}
		run(t, "%s", strings.ReplaceAll(do, "PEER", peer))
		if !mustStatus(t, tun).Drifted {
			t.Errorf("%s: not seen", do)
		}
		if _, err := tun.Apply(want); err != nil {
			t.Error(err)
		}
	}
	if mustStatus(t, tun).Drifted {
		t.Error("drifted in the end")
	}
	if err := ping(18); err != nil {
		t.Error(err)
	}
}

// A peer that is at another endpoint and silent there gets its own back; one
// that is heard has roamed, and stays.
func TestPeerAtWrongEndpoint(t *testing.T) {
	f := newFar(t, "ft", 19, "")
	tun := f.open(t, "wgt", 19)
	tun.opts.Patience = 300 * time.Millisecond
	if err := ping(19); err != nil {
		t.Fatal(err)
	}
	want := *tun.want
	run(t, "wg set wgt peer %s endpoint 198.51.100.9:9", want.Peers[0].PublicKey)
	if !mustStatus(t, tun).Drifted {
		t.Error("not drifted at an endpoint without a route")
	}
	if _, err := tun.Apply(want); err != nil {
		t.Error(err)
	}
	run(t, "wg set wgt peer %s endpoint 192.0.19.9:9", want.Peers[0].PublicKey)
	if mustStatus(t, tun).Drifted {
		t.Error("drifted at once: it might have roamed")
	}
	eventually(t, 5*time.Second, "seen", func() bool {
		_ = echo("ip4:icmp", "10.9.19.1", ipv4.ICMPTypeEcho, 1, 50*time.Millisecond) // traffic
		return mustStatus(t, tun).Drifted
	})
	if _, err := tun.Apply(want); err != nil {
		t.Error(err)
	}
	if err := ping(19); err != nil {
		t.Error(err)
	}
	if mustStatus(t, tun).Drifted {
		t.Error("drifted in the end")
	}
}
