package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// fakePart is ready at once and ends when it is told to.
type fakePart struct {
	name  string
	ready chan struct{}
	fail  chan error
	log   func(string)
}

func newFake(name string, log func(string)) *fakePart {
	return &fakePart{name: name, ready: make(chan struct{}), fail: make(chan error, 1), log: log}
}

func (f *fakePart) String() string         { return f.name }
func (f *fakePart) Ready() <-chan struct{} { return f.ready }

func (f *fakePart) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		f.log(f.name)
		return nil
	case err := <-f.fail:
		return err
	}
}

func TestGroupStopsInReverse(t *testing.T) {
	synctest.Test(t, testGroupStopsInReverse)
}

func testGroupStopsInReverse(t *testing.T) {
	var ended []string
	log := func(s string) { ended = append(ended, s) }
	g := newGroup()
	ctx, cancel := context.WithCancel(t.Context())
	for _, name := range []string{"sidecar", "updater", "resolver"} {
		f := newFake(name, log)
		close(f.ready)
		g.start(ctx, f)
	}
	if err := g.awaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	cancel() // a signal ends no part: the order would be lost
	synctest.Wait()
	if len(ended) > 0 {
		t.Fatalf("a signal alone ended %v", ended)
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"resolver", "updater", "sidecar"}; !slices.Equal(ended, want) {
		t.Errorf("ended in the order %v, want %v", ended, want)
	}
}

func TestGroupReportsWhatEnds(t *testing.T) {
	broken := errors.New("netlink: no buffer space")
	none := func(string) {}
	g := newGroup()
	first, second := newFake("sidecar", none), newFake("resolver", none)
	g.start(t.Context(), first)
	g.start(t.Context(), second)
	second.fail <- broken // while another part is not ready yet
	if err := g.awaitReady(t.Context()); err != broken {
		t.Errorf("a part that fails at its start: %v, want its error as it is", err)
	}
	first.fail <- broken
	if err := (<-g.ended).failure(); !errors.Is(err, broken) || err.Error() != "the sidecar ended: netlink: no buffer space" {
		t.Errorf("a part that fails later: %v", err)
	}
	if err := g.stop(); err != nil {
		t.Errorf("stop repeats an error that was returned before: %v", err)
	}
}
