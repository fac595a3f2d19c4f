// Package coalesce runs one exchange for identical concurrent queries.
package coalesce

import (
	"context"
	"errors"
	"sync"
)

// errNoResult ends the queries that waited for an exchange whose goroutine panicked.
var errNoResult = errors.New("the exchange ended without a result")

// Group runs one exchange for identical concurrent queries. The first one runs it in its
// own goroutine, under CoreDNS's recover; the others wait for its result.
type Group[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done    chan struct{}      // closed when value and err are set; nil until a query joins
	cancel  context.CancelFunc // nil for a call that cannot be cancelled
	waiting int                // queries that still want the result, the first included
	joined  int                // queries that joined later
	value   V
	err     error
}

// Do returns the result of ask. joined is true for a query that did not run ask itself;
// shared is true where another query has the same value, which must then be copied
// before it is changed. ask's context ends only when no query waits for it any more.
func (g *Group[K, V]) Do(ctx context.Context, k K, ask func(context.Context) (V, error)) (v V, joined, shared bool, err error) {
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
	c := &call[V]{waiting: 1, err: errNoResult}
	if g.calls == nil {
		g.calls = make(map[K]*call[V])
	}
	g.calls[k] = c
	defer func() { shared = g.finish(k, c) }()
	if ctx.Done() != nil { // with CoreDNS only below the plugin cancel
		// Other queries may join; the first one's cancellation must not end theirs.
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

func (g *Group[K, V]) wait(ctx context.Context, k K, c *call[V]) (v V, err error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		g.leave(k, c)
		return v, ctx.Err()
	}
}

// leave cancels the exchange when no query waits for it any more; the next identical
// query starts another. A call that cannot be cancelled always has its first query.
func (g *Group[K, V]) leave(k K, c *call[V]) {
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

// finish hands the result to the queries that wait. No query can join any more.
func (g *Group[K, V]) finish(k K, c *call[V]) (shared bool) {
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
