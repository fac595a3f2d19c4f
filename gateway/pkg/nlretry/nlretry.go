// Package nlretry repeats netlink dumps that the kernel reports as interrupted.
package nlretry

import (
	"errors"
	"time"

	"github.com/vishvananda/netlink"
)

// longestPause ends the attempts where changes do not pause for that long.
const longestPause = time.Second / 4

// Dump repeats a netlink dump that a change interrupted (NLM_F_DUMP_INTR), because its
// result may be incomplete. Where changes do not pause for a quarter of a second the error
// is netlink.ErrDumpInterrupted.
func Dump[T any](read func() (T, error)) (T, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		result, err := read()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || pause > longestPause {
			return result, err
		}
		time.Sleep(pause)
	}
}
