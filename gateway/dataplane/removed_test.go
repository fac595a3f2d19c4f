package dataplane

import (
	"testing"
	"time"
)

// The mark of a removed route stays blocked until its flows are deleted, and not that of
// one that keeps its mark under another name.
func TestRemovedMarks(t *testing.T) {
	both := parse(t, "routes:\n  a: {interface: tun0, mark: 0x01000000}\n  b: {interface: tun1, mark: 0x02000000}\n")
	renamed := parse(t, "routes:\n  c: {interface: tun0, mark: 0x01000000}\n")
	c := newFake().controller(t, "")
	c.markRemoved(both, renamed)
	now := time.Now()
	if got := c.removedMarks(renamed, now); len(got) != 1 || got[0].Value != 0x02000000 {
		t.Errorf("got %v", got)
	}
	if got := c.removedMarks(both, now); len(got) != 0 {
		t.Errorf("a mark that is in use again: %v", got)
	}
	c.markRemoved(both, renamed)
	if got := c.removedMarks(renamed, now.Add(2*c.timers.Removed)); len(got) != 0 {
		t.Errorf("for ever: %v", got)
	}
}
