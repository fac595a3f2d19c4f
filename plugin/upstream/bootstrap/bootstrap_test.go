package bootstrap

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Addresses are looked up again when their TTL is over, and the last ones are kept while that
// fails.
func TestHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		var asked, warned atomic.Int64
		var answer atomic.Value
		answer.Store(first)
		h := &Host{Name: "dns.example.org", Warn: func(string, ...any) { warned.Add(1) },
			Lookup: func(context.Context, string) ([]netip.Addr, time.Duration, error) {
				asked.Add(1)
				if a := answer.Load().(netip.Addr); a.IsValid() {
					return []netip.Addr{a}, time.Minute, nil
				}
				return nil, 0, errors.New("no answer")
			}}
		step := func(what string, want netip.Addr, lookups int64) {
			t.Helper()
			got, err := h.Addrs(t.Context())
			synctest.Wait()
			if !want.IsValid() && err == nil || want.IsValid() && !slices.Equal(got, []netip.Addr{want}) || asked.Load() != lookups {
				t.Errorf("%s: %v, %v after %d look-ups", what, got, err, asked.Load())
			}
		}
		answer.Store(netip.Addr{})
		step("nothing is known", netip.Addr{}, 1)
		answer.Store(first)
		step("the next query asks again", first, 2)
		step("it is known", first, 2)
		time.Sleep(2 * time.Minute)
		answer.Store(netip.Addr{})
		step("its time is over", first, 3)
		step("the look-up failed", first, 3)
		time.Sleep(time.Minute)
		answer.Store(second)
		step("and works again", first, 4)
		step("with another address", second, 4)
		if warned.Load() != 1 {
			t.Errorf("%d warnings", warned.Load())
		}
	})
}

// The second address is tried when the first one fails, or is silent for a while.
func TestFirst(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var closed atomic.Int64
			connect := func(ctx context.Context, a int) (int, error) {
				switch {
				case a == 1 && silent:
					time.Sleep(time.Hour)
				case a == 1:
					return 0, errors.New("refused")
				}
				return a, nil
			}
			got, err := First(t.Context(), []int{1, 2}, connect, func(int) { closed.Add(1) })
			if got != 2 || err != nil {
				t.Errorf("%d, %v", got, err)
			}
			time.Sleep(2 * time.Hour)
			if late := closed.Load() == 1; late != silent {
				t.Errorf("%d late connections were closed", closed.Load())
			}
			if _, err := First(t.Context(), []int{1, 1}, func(context.Context, int) (int, error) { return 0, errors.New("refused") }, func(int) {}); err == nil {
				t.Error("no error")
			}
		})
	}
}
