package check

import (
	"time"

	"golang.org/x/sys/unix"
)

// checkClock checks the clock. With a wrong one, the certificates of resolvers are not
// valid, WireGuard peers refuse handshakes as replayed, and stored addresses look expired.
func (h *host) checkClock(r *report, now, built time.Time) {
	var t unix.Timex // Modes 0 only reads
	state, err := unix.Adjtimex(&t)
	switch {
	case now.Before(built):
		r.warn("the clock says %s, but this program was built on %s: set the clock (timedatectl set-ntp true, or install chrony)", now.UTC().Format(time.DateTime), built.UTC().Format(time.DateOnly))
	case err == nil && (state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0):
		r.warn("the clock is not synchronized: timedatectl set-ntp true, or install chrony (in a container: on the host)")
	}
}
