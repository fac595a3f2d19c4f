package coalesce

import (
	"context"
	"testing"
	"time"
)

// An exchange that panics must not leave others waiting for ever.
func TestPanicReleasesWaiters(t *testing.T) {
	var g Group[string, int]
	begun, joined := make(chan struct{}), make(chan error, 1)
	go func() {
		<-begun
		_, _, _, err := g.Do(context.Background(), "k", nil)
		joined <- err
	}()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		g.Do(context.Background(), "k", func(context.Context) (int, error) {
			close(begun)
			for joined := false; !joined; time.Sleep(time.Millisecond) {
				g.mu.Lock()
				joined = g.calls["k"].joined == 1
				g.mu.Unlock()
			}
			panic("broken")
		})
	}()
	if err := <-joined; err != errNoResult || len(g.calls) != 0 {
		t.Errorf("got %v, and %d calls are left", err, len(g.calls))
	}
}
