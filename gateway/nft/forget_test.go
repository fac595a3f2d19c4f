package nft

import (
	"context"
	"testing"
	"time"
)

func TestForget(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		k := open(t, Options{Force: m})
		apply(t, k, small())
		learn(t, k, vpn, time.Hour, "8.8.8.8", "8.8.4.4", "9.9.9.9", "2606:4700::1")
		doubted := addrs("8.8.8.8", "8.8.4.4", "2606:4700::1", "1.2.3.4", "8.8.8.8")
		for _, a := range doubted {
			k.Doubt(&vpn, a)
		}
		if k.Holds(&vpn, addr("8.8.8.8")) || !k.Holds(&vpn, addr("9.9.9.9")) {
			t.Error("the wrong ones are doubted")
		}
		learn(t, k, vpn, time.Hour, "8.8.4.4") // another name's answer, in between
		if err := k.Forget(t.Context(), vpn, doubted); err != nil {
			t.Fatal(err)
		}
		for a, stays := range map[string]bool{"8.8.8.8": false, "8.8.4.4": true, "9.9.9.9": true, "2606:4700::1": false, "1.2.3.4": false} {
			refs := []SetRef{*vpn.of(addr(a))}
			if m == ModeReplica {
				refs = append(refs, SetRef{"inet", "nameroute_replica", refs[0].Name})
			}
			for _, ref := range refs {
				if in := inKernel(t, k, ref, a) > 0; in != stays {
					t.Errorf("%s in %s: %v", a, ref, in)
				}
			}
			if k.Knows(&vpn, addrs(a), time.Minute) != stays {
				t.Errorf("%s is believed otherwise than it is", a)
			}
		}
		learn(t, k, vpn, time.Hour, "8.8.8.8")
		if got := inKernel(t, k, vpn.Set4, "8.8.8.8"); !about(got, time.Hour) {
			t.Errorf("learned again: lives %v", got)
		}
	})
}

// TestForgetOthers: what somebody put there for good is not ours to take out.
func TestForgetOthers(t *testing.T) {
	k := open(t, Options{Force: ModePlain})
	apply(t, k, small())
	sh(t, "nft add element inet nameroute vpn4 '{ 7.7.7.7 }'")
	eventually(t, restored, func() bool { return k.Holds(&vpn, addr("7.7.7.7")) })
	k.Doubt(&vpn, addr("7.7.7.7"))
	if err := k.Forget(context.Background(), vpn, addrs("7.7.7.7")); err != nil {
		t.Fatal(err)
	}
	sh(t, "nft get element inet nameroute vpn4 '{ 7.7.7.7 }'")
}
