package dnshalf

import (
	"testing"
	"time"
)

func TestClockIsSet(t *testing.T) {
	wall, mono := time.Unix(1_800_000_000, 0), time.Hour
	s := &clockWatch{wall: func() time.Time { return wall }, mono: func() time.Duration { return mono }}
	s.changed()
	for _, c := range []struct {
		name       string
		wall, mono time.Duration
		want       bool
	}{
		{"nothing", time.Minute, time.Minute, false},
		{"corrected", time.Minute + 200*time.Millisecond, time.Minute, false},
		{"set ahead", 3 * time.Hour, time.Minute, true},
		{"nothing again", time.Minute, time.Minute, false},
		{"set back", -50 * 365 * 24 * time.Hour, time.Minute, true},
		{"suspended", 8 * time.Hour, time.Second, true},
		{"set ahead by all that there is", 200 * 365 * 24 * time.Hour, time.Second, true},
	} {
		wall, mono = wall.Add(c.wall), mono+c.mono
		if got := s.changed(); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
