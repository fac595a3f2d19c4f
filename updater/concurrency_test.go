package updater

import (
	"context"
	"net/http"
	"testing"
	"time"
)

// SetConfig does not wait for a download in progress.
func TestSetConfigDoesNotWaitForAFetch(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL, "timeout: 1h")
	began, release := make(chan struct{}), make(chan struct{})
	s.answer(func(http.ResponseWriter, *http.Request) { close(began); <-release })
	done := make(chan Result)
	go func() {
		results, _ := b.Update(context.Background(), nil, Flags{})
		done <- results[0]
	}()
	<-began
	b.SetConfig(configOf(t, s.URL+"/other")) // would not return
	close(release)
	<-done
	s.answer(file(list(3, "example")))
	b.update(Updated, "")
	if q := s.requests(); q[0].URL.Path != "/other" {
		t.Errorf("asked for %s", q[0].URL)
	}
}

// Two updaters of one state directory, such as a daemon and a command, take turns.
func TestUpdatersTakeTurns(t *testing.T) {
	s := newSite(t)
	a := newBox(t, s.URL)
	c := openBox(t, a.state, s.URL)
	s.answer(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		file(list(3, "example"))(w, r)
	})
	done := make(chan Result, 10)
	for _, b := range []*box{a, c, a, c} {
		go func() {
			results, _ := b.Update(context.Background(), nil, Flags{Force: true})
			done <- results[0]
		}()
	}
	for range 4 {
		if r := <-done; r.Err != nil {
			t.Error(r.Err)
		}
	}
	a.holds(list(3, "example"))
	a.clean()
}
