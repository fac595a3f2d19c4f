package nft

import (
	"fmt"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// TestRemember: after a reboot the sets are what they were; where the kernel still has
// its elements, they stay as they are.
func TestRemember(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		first := open(t, Options{Force: m})
		apply(t, first, small())
		learn(t, first, vpn, time.Hour, "8.8.8.8", "2606:4700::1")
		learn(t, first, vpn, time.Minute, "9.9.9.9")
		stored := map[SetRef][]Element{vpn.Set4: first.Learned(vpn.Set4), vpn.Set6: first.Learned(vpn.Set6)}
		if first.Changes() == 0 || len(stored[vpn.Set4]) != 2 || len(stored[vpn.Set6]) != 1 {
			t.Fatalf("%d changes, %v", first.Changes(), stored)
		}
		learn(t, first, vpn, 2*time.Hour, "9.9.9.9") // after it was stored
		for _, reboot := range []bool{false, true} {
			if reboot {
				if err := first.Remove(t.Context(), gateway.TableName); err != nil {
					t.Fatal(err)
				}
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			k := openMore(t, Options{Force: m})
			for ref, elems := range stored {
				if err := k.Remember(t.Context(), ref, elems); err != nil {
					t.Fatal(err)
				}
			}
			if k.Knows(&vpn, addrs("8.8.8.8"), time.Second) {
				t.Error("known before it is in the kernel")
			}
			applyTwice(t, k, small())
			want := map[string]time.Duration{"8.8.8.8": time.Hour, "2606:4700::1": time.Hour, "9.9.9.9": 2 * time.Hour}
			if reboot {
				want["9.9.9.9"] = time.Minute
			}
			for a, want := range want {
				if got := inKernel(t, k, *vpn.of(addr(a)), a); !about(got, want) {
					t.Errorf("reboot %v: %s lives %v, want %v", reboot, a, got, want)
				}
				if !k.Knows(&vpn, addrs(a), want-3*time.Second) {
					t.Errorf("reboot %v: %s is not known", reboot, a)
				}
			}
			first = k
		}
	})
}

// TestRememberTooMuch: more than fits does not keep the table from standing, and the
// set keeps what the kernel had.
func TestRememberTooMuch(t *testing.T) {
	modes(t, func(t *testing.T, m Mode) {
		s := small()
		s.Config.SetSize = 10
		k := open(t, Options{Force: m})
		apply(t, k, s)
		var more []Element
		for i := range 10 {
			learn(t, k, vpn, time.Minute, fmt.Sprintf("8.8.8.%d", i))
			more = append(more, Element{Addr: addr(fmt.Sprintf("9.9.9.%d", i)), Expires: time.Hour})
		}
		if err := k.Close(); err != nil {
			t.Fatal(err)
		}
		k = openMore(t, Options{Force: m})
		if err := k.Remember(t.Context(), vpn.Set4, more); err != nil {
			t.Fatal(err)
		}
		apply(t, k, s)
		elems, err := k.Elements(vpn.Set4)
		if err != nil || len(elems) != 10 {
			t.Errorf("%v, %v", elems, err)
		}
		for _, e := range more {
			if _, ok := k.Remaining(vpn.Set4, e.Addr); ok {
				t.Errorf("%s is believed to be there", e.Addr)
			}
		}
	})
}
