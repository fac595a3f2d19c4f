package lists

import "time"

// smaller is content of a list's file that has fewer entries than the one in use.
// Whoever writes a file in its place (cp, curl -o, sftp) empties it first, and what is
// read meanwhile is a list that has lost names: they would leave by the WAN, and their
// addresses the sets, until the writer is done. So it must have stayed as it is for a
// while before it is believed.
type smaller struct {
	sum   digest
	since time.Time // when it was first seen; zero: there is none
}

func (s smaller) waits() bool { return !s.since.IsZero() }

// mayBeHalf reports whether content may be half of what is being written.
func (h *holding) mayBeHalf(c content, rest time.Duration) bool {
	if rest == 0 || !h.good || h.list != h.read || c.report.Size() >= h.report.Size() {
		h.smaller = smaller{}
		return false
	}
	if now := time.Now(); h.smaller.sum != c.sum || !h.smaller.waits() {
		h.smaller = smaller{c.sum, now}
	} else if now.Sub(h.smaller.since) >= rest {
		h.smaller = smaller{}
		return false
	}
	return true
}
