package dnshalf

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestClockIsSet(t *testing.T) {
	wall, mono := newClock().t, time.Hour
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

// TestJournalWhenTheClockIsSet: names that were stored before the clock was set are
// stored anew, so that a crash after it does not lose them.
func TestJournalWhenTheClockIsSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	c := newClock()
	n := newNames(c.now)
	j := &journal{names: n, file: file, clock: &clockWatch{wall: c.now, mono: func() time.Duration { return 0 }}}
	n.Add("a.example.", []string{"mine"}, time.Minute, time.Hour)
	j.clock.changed()
	c.t = c.t.Add(10 * 365 * 24 * time.Hour)
	n.Add("b.example.", []string{"mine"}, time.Minute, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); j.run(ctx) }()
	eventually(t, func() bool {
		data, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(data), " b.example. mine\n")
	})
	cancel()
	<-done
}
