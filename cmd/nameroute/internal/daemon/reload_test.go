package daemon

import (
	"errors"
	"testing"
)

// All requests that wait when a reload begins share its result; later ones get the next.
func TestReloadQueue(t *testing.T) {
	q := newReloadQueue()
	first, second := q.request(), q.request()
	<-q.due
	waiting, wanted := q.take()
	if len(waiting) != 2 || !wanted {
		t.Fatalf("%d requests, wanted %v", len(waiting), wanted)
	}
	third := q.request()
	failed := errors.New("failed")
	answer(waiting, failed)
	if err := <-first; err != failed {
		t.Errorf("first: %v", err)
	}
	if err := <-second; err != failed {
		t.Errorf("second: %v", err)
	}
	select {
	case err := <-third:
		t.Errorf("a request during a reload got its result: %v", err)
	case <-q.due:
	}
	waiting, _ = q.take()
	answer(waiting, nil)
	if err := <-third; err != nil {
		t.Errorf("third: %v", err)
	}

	q.retry()
	<-q.due
	if waiting, wanted := q.take(); len(waiting) != 0 || wanted {
		t.Errorf("a retry is wanted by %d requests, %v", len(waiting), wanted)
	}
	last := q.request()
	stopping := errors.New("stopping")
	q.close(stopping)
	for _, done := range []<-chan error{last, q.request()} {
		if err := <-done; err != stopping {
			t.Errorf("after the end: %v", err)
		}
	}
}
