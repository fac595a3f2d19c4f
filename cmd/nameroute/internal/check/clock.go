package check

import (
	"time"

	"golang.org/x/sys/unix"
)

// checkClock: with a wrong clock no certificate of a resolver holds, WireGuard's far
// end takes our handshakes for old ones, and what is stored looks lapsed.
func (h *host) checkClock(r *report, now, built time.Time) {
	var t unix.Timex // Modes 0: it only reads
	state, err := unix.Adjtimex(&t)
	switch {
	case now.Before(built):
		r.warn("the clock says %s, and this program was made on %s: set it (timedatectl set-ntp true, or install chrony)", now.UTC().Format(time.DateTime), built.UTC().Format(time.DateOnly))
	case err == nil && (state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0):
		r.warn("nothing keeps the clock right: timedatectl set-ntp true, or install chrony (in a container: on the host)")
	}
}
