// Package wallclock notices when the system's clock was set. What is stored on disk is
// dated by that clock and must be written again then, or a restart would take it for
// older or newer than it is.
package wallclock

import "time"

// Earliest is a time that no clock that was set shows: a box without a battery starts in
// 1970, or at the date of its image, and stays there until it has asked a time server.
var Earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

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
