// Package bootstrap finds the addresses of resolvers that are named.
package bootstrap

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

const (
	// minTTL bounds how often a name is looked up whose answer is short-lived, and maxTTL how
	// long an answer is believed.
	minTTL = 30 * time.Second
	maxTTL = 24 * time.Hour
	// retry is when a look-up that failed is tried again, while there are addresses.
	retry = 5 * time.Second
	// limit bounds a look-up.
	limit = 10 * time.Second
)

// Host is a resolver's name with its addresses. They are kept until a later look-up has
// others: a resolver that cannot be looked up now is still where it was.
type Host struct {
	Name   string
	Lookup func(ctx context.Context, name string) ([]netip.Addr, time.Duration, error)
	Warn   func(string, ...any) // of a look-up that failed while there are addresses

	mu     sync.Mutex
	addrs  []netip.Addr
	err    error // of the last look-up
	due    time.Time
	asking chan struct{} // closed when the look-up in flight has ended; nil without
}

// Addrs returns the addresses. Only the first time, and while none was found, it waits for a
// look-up.
func (h *Host) Addrs(ctx context.Context) ([]netip.Addr, error) {
	h.mu.Lock()
	if h.asking == nil && !time.Now().Before(h.due) {
		h.asking = make(chan struct{})
		go h.ask(h.asking)
	}
	addrs, asking := h.addrs, h.asking
	err := h.err
	h.mu.Unlock()
	if len(addrs) > 0 {
		return addrs, nil
	}
	if asking == nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("look up %s: %w", h.Name, context.Cause(ctx))
	case <-asking:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.addrs) == 0 {
		return nil, h.err
	}
	return h.addrs, nil
}

// ask looks the name up, for all that wait for it.
func (h *Host) ask(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	addrs, ttl, err := h.Lookup(ctx, h.Name)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil:
		h.addrs, h.err, h.due = addrs, nil, now.Add(min(max(ttl, minTTL), maxTTL))
	case len(h.addrs) > 0:
		h.due = now.Add(retry)
		if h.err == nil && h.Warn != nil {
			h.Warn("%v; its last addresses are kept", err)
		}
		h.err = err
	default: // the next query tries again
		h.err = err
	}
	h.asking = nil
	close(done)
}

// stagger is how long a connection is waited for before the next address is tried, too
// (RFC 8305, section 5).
const stagger = 250 * time.Millisecond

// First connects to the first of the addresses with which it works. Connections that come
// too late are closed.
func First[A, T any](ctx context.Context, addrs []A, connect func(context.Context, A) (T, error), closeLate func(T)) (T, error) {
	if len(addrs) == 1 {
		return connect(ctx, addrs[0])
	}
	type result struct {
		conn T
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan result)
	next := time.NewTimer(0)
	defer next.Stop()
	var err error
	for started, ended := 0, 0; ended < len(addrs); {
		select {
		case <-next.C:
			if started < len(addrs) {
				a := addrs[started]
				started++
				go func() {
					c, err := connect(ctx, a)
					select {
					case results <- result{c, err}:
					case <-ctx.Done():
						if err == nil {
							closeLate(c)
						}
					}
				}()
				next.Reset(stagger)
			}
		case r := <-results:
			if r.err == nil {
				return r.conn, nil
			}
			ended++
			if err == nil {
				err = r.err
			}
			next.Reset(0)
		case <-ctx.Done():
			var none T
			if err == nil {
				err = context.Cause(ctx)
			}
			return none, err
		}
	}
	var none T
	return none, err
}
