//go:build linux

package netlab

import (
	"fmt"
	"time"
)

// pollEvery is how often Eventually looks.
const pollEvery = 5 * time.Millisecond

// patience is the least time that tests wait for what must come: a processor that is busy
// with other things delays anything by seconds, and what comes is waited for no longer.
const patience = 30 * time.Second

// Eventually calls check until it returns nil. If that takes longer than limit, which
// Slack stretches and which is 30 s at least, the test ends with what check returned last.
// A check that runs t.Fatal must do so in the test's own goroutine, as anywhere else.
func Eventually(t TB, limit time.Duration, check func() error) {
	t.Helper()
	limit = max(limit, patience)
	if err := Poll(limit, check); err != nil {
		t.Fatalf("not within %v: %v", limit*Slack(), err)
	}
}

// Poll is Eventually for tests that go on: it returns what check returned last, which is
// nil in the good case. check is called at least once, and once more when the time is
// over, so that a machine that slept through the limit does not fail the test.
func Poll(limit time.Duration, check func() error) error {
	for end := time.Now().Add(limit * Slack()); ; time.Sleep(pollEvery) {
		over := time.Now().After(end)
		if err := check(); err == nil || over {
			return err
		}
	}
}

// Check returns an error with this text unless ok: for conditions that Eventually waits for.
func Check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}
