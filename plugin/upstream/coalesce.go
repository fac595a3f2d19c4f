package upstream

import (
	"context"
	"errors"
	"sync"
)

// errGone ends the questions that waited for an exchange whose goroutine panicked.
var errGone = errors.New("the exchange ended without a result")

// group asks identical questions once. The first who asks does the work in its own
// goroutine, under CoreDNS's recover; the others wait for what it finds.
type group[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done    chan struct{}      // closed when value and err are there; nil until somebody joins
	cancel  context.CancelFunc // nil for one that cannot be cancelled
	waiting int                // those who still want the result, the first included
	joined  int                // those who came later
	value   V
	err     error
}

// do returns what ask found, and whether somebody else has the very same value,
// which must then be copied before it is changed. ask's context ends only when
// nobody waits for it any more.
func (g *group[K, V]) do(ctx context.Context, k K, ask func(context.Context) (V, error)) (v V, joined, shared bool, err error) {
	g.mu.Lock()
	if c, ok := g.calls[k]; ok {
		c.waiting++
		c.joined++
		if c.done == nil {
			c.done = make(chan struct{})
		}
		g.mu.Unlock()
		v, err = g.wait(ctx, k, c)
		return v, true, true, err
	}
	c := &call[V]{waiting: 1, err: errGone}
	if g.calls == nil {
		g.calls = make(map[K]*call[V])
	}
	g.calls[k] = c
	defer func() { shared = g.finish(k, c) }()
	if ctx.Done() != nil { // CoreDNS's contexts end only below the plugin cancel
		// Others may join: the first one's cancellation is not theirs.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		c.cancel = cancel
		defer context.AfterFunc(ctx, func() { g.leave(k, c) })()
		ctx = own
	}
	g.mu.Unlock()
	c.value, c.err = ask(ctx)
	return c.value, false, false, c.err
}

func (g *group[K, V]) wait(ctx context.Context, k K, c *call[V]) (v V, err error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		g.leave(k, c)
		return v, ctx.Err()
	}
}

// leave cancels the exchange when nobody wants it any more, and lets the next who
// asks begin anew. One that cannot be cancelled is always wanted by its first.
func (g *group[K, V]) leave(k K, c *call[V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.waiting--; c.waiting > 0 {
		return
	}
	if g.calls[k] == c {
		delete(g.calls, k)
	}
	c.cancel()
}

// finish lets those who wait have the result; nobody can join any more.
func (g *group[K, V]) finish(k K, c *call[V]) (shared bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[k] == c {
		delete(g.calls, k)
	}
	if c.done != nil {
		close(c.done)
	}
	return c.joined > 0
}
