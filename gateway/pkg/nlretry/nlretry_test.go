package nlretry

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDump(t *testing.T) {
	interrupted := fmt.Errorf("list: %w", netlink.ErrDumpInterrupted)
	other := errors.New("other")
	for name, c := range map[string]struct {
		errs  []error // of the calls; the last one stays
		calls int
		want  error
	}{
		"at once":                {[]error{nil}, 1, nil},
		"third time":             {[]error{interrupted, interrupted, nil}, 3, nil},
		"another error":          {[]error{interrupted, other}, 2, other},
		"never without a change": {[]error{interrupted}, 9, netlink.ErrDumpInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			got, err := Dump(func() (int, error) {
				e := c.errs[min(calls, len(c.errs)-1)]
				calls++
				return calls, e
			})
			if got != calls || calls != c.calls || !errors.Is(err, c.want) {
				t.Errorf("%d after %d calls, %v; want %d calls, %v", got, calls, err, c.calls, c.want)
			}
		})
	}
}
