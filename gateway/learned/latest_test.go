package learned

import (
	"slices"
	"testing"
)

func FuzzLatest(f *testing.F) {
	f.Add([]byte{3, 1, 2, 2, 9}, 2)
	f.Fuzz(func(t *testing.T, ends []byte, n int) {
		all := make([]held, len(ends))
		for i, e := range ends {
			all[i].end = int64(e)
		}
		latest(all, n)
		slices.Sort(ends)
		got := make([]byte, len(all))
		for i, h := range all {
			got[i] = byte(h.end)
		}
		if n > 0 && n < len(all) {
			slices.Sort(got[:n])
			slices.Sort(got[n:])
			got = append(append([]byte(nil), got[n:]...), got[:n]...)
		} else {
			slices.Sort(got)
		}
		if !slices.Equal(got, ends) {
			t.Fatalf("%v by %d: %v", ends, n, all)
		}
	})
}
