package firewall_test

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/learned"
	"github.com/nameroute/nameroute/gateway/nft"
)

// maxRanges is how many ranges firewall puts into one set.
const maxRanges = 8192

// A list that grows over the limit is cut into several sets, and made one again when it
// shrinks, and no new flow misses its prefix meanwhile: the new sets are full before the
// rules change.
func TestRegionsAreCut(t *testing.T) {
	modes(t, func(t *testing.T, m nft.Mode) {
		lab(t)
		k := open(t, learned.Options{Force: m})
		s := labSpec()
		list := func(n int) {
			s.Prefixes = map[string][]netip.Prefix{"vpn": append(many(2*(n-1)), prefixes("8.8.8.8/32", "2606:4700::1/128")...)}
			applyTwice(t, k, s)
		}
		list(maxRanges)
		if got := prefixSetsThere(t); !slices.Equal(got, []string{"vpn4p", "vpn6p"}) {
			t.Errorf("sets of %d ranges: %v", maxRanges, got)
		}
		asked, end := 0, make(chan struct{})
		var asking sync.WaitGroup
		asking.Go(func() {
			for {
				for _, f := range families {
					select {
					case <-end:
						return
					case <-time.After(5 * time.Millisecond):
					}
					asked++
					if got := who(t, "client", "udp", f.listed); got != "vpn "+f.tunnel {
						t.Errorf("flow %d to %s is answered by %q", asked, f.listed, got)
					}
				}
			}
		})
		defer func() {
			close(end)
			asking.Wait()
			t.Logf("%d flows", asked)
		}()
		list(maxRanges + 1)
		if got := prefixSetsThere(t); len(got) < 4 || slices.Contains(got, "vpn4p") {
			t.Errorf("sets of %d ranges: %v", maxRanges+1, got)
		}
		list(maxRanges)
	})
}

// prefixSetsThere are the sets of prefixes that the kernel has.
func prefixSetsThere(t *testing.T) (names []string) {
	t.Helper()
	for _, b := range blocks(listTable(t)) {
		name, isSet := strings.CutPrefix(b[:strings.IndexByte(b, '{')], "set ")
		name = strings.TrimSpace(name)
		if !isSet || !strings.Contains(b, "flags interval") {
			continue
		}
		if n := strings.Count(b, ",") + 1; n > maxRanges {
			t.Errorf("%s has %d ranges", name, n)
		}
		if strings.HasPrefix(name, "vpn") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
