package dnshalf

import "time"

// clockWatch notices when the system's clock was set: what is on disk is dated by it, and
// must be written anew then, or a restart would take it for older or newer than it is.
// A suspend is noticed, too: lifetimes stand still in it and the wall clock does not.
type clockWatch struct {
	wall func() time.Time     // CLOCK_REALTIME
	mono func() time.Duration // CLOCK_MONOTONIC, from any moment on

	lastWall time.Time
	lastMono time.Duration
}

// clockMoves is more than what a time server's corrections amount to between two looks.
const clockMoves = time.Second

func watchClock() *clockWatch {
	start := time.Now()
	s := &clockWatch{wall: func() time.Time { return time.Now().Round(0) }, mono: func() time.Duration { return time.Since(start) }}
	s.changed()
	return s
}

// changed reports whether the clock was set since it was last asked.
func (s *clockWatch) changed() bool {
	wall, mono := s.wall(), s.mono()
	moved := wall.Sub(s.lastWall) - (mono - s.lastMono)
	s.lastWall, s.lastMono = wall, mono
	return moved.Abs() > clockMoves
}
