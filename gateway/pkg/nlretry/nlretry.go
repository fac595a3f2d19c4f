// Package nlretry repeats netlink dumps that the kernel reports as interrupted.
package nlretry

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink"
)

// longestPause ends the attempts: what changes for a quarter of a second without a rest
// is not read whole.
const longestPause = time.Second / 4

// Dump repeats a netlink dump that a change interrupted (NLM_F_DUMP_INTR), because its
// result may lack entries. The last error is netlink.ErrDumpInterrupted where changes
// do not rest for a quarter of a second.
func Dump[T any](read func() (T, error)) (T, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		result, err := read()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || pause > longestPause {
			return result, err
		}
		time.Sleep(pause)
	}
}
