// Package wallclock notices when the system's clock was set. What is stored on disk is
// dated by that clock and must be written again then, or a restart would take it for
// older or newer than it is. And it tells whether the clock can be believed.
package wallclock

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Earliest is a time that no clock that was set shows: a box without a battery starts in
// 1970, or at the date of its image, and stays there until it has asked a time server.
var Earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Built is when the program was built; zero where that is not known. It is set before
// anything runs.
var Built time.Time

// kept are files that programs which set the clock write while it is right.
var kept = []string{
	"/var/lib/systemd/timesync/clock", "/var/lib/chrony/chrony.drift", "/var/lib/chrony/drift", "/var/lib/ntpsec/ntp.drift",
}

// Passed returns a time that is past, whatever the clock shows: the latest of Earliest, of
// the date of the build, and of when the clock was last seen to be right.
func Passed() time.Time {
	at := Earliest
	if Built.After(at) {
		at = Built
	}
	for _, file := range kept {
		if info, err := os.Stat(file); err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
	}
	return at
}

// Synchronized reports whether the kernel says that a time server keeps the clock right.
func Synchronized() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// maxCorrection is more than a time server's corrections amount to between two looks.
const maxCorrection = time.Second

// Watch compares the wall clock with the monotonic one. A suspend counts as a step, too:
// lifetimes stand still in it and the wall clock does not.
type Watch struct {
	Wall func() time.Time     // CLOCK_REALTIME
	Mono func() time.Duration // CLOCK_MONOTONIC, from any moment on

	lastWall time.Time
	lastMono time.Duration
}

// New starts to watch the system's clock.
func New() *Watch {
	start := time.Now()
	w := &Watch{Wall: func() time.Time { return time.Now().Round(0) }, Mono: func() time.Duration { return time.Since(start) }}
	w.Stepped()
	return w
}

// Stepped reports whether the clock was set since it was last called.
func (w *Watch) Stepped() bool {
	wall, mono := w.Wall(), w.Mono()
	step := wall.Sub(w.lastWall) - (mono - w.lastMono)
	w.lastWall, w.lastMono = wall, mono
	return step.Abs() > maxCorrection
}
