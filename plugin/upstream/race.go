package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/nameroute/nameroute/plugin/upstream/wire"
)

// tick bounds how long a race sleeps, so that it soon sees a route go down.
const tick = 250 * time.Millisecond

// errStale ends a race whose resolvers are no longer those to be asked.
var errStale = errors.New("the route's resolvers have changed")

// race is one query that is open at one resolver or more. The first helpful answer wins,
// however late it comes. It belongs to one goroutine; other goroutines post to its mailbox.
//
// The next resolver is asked where the last one has failed, has not helped, or has been
// silent for longer than its patience. Until then a race costs what one exchange does.
type race struct {
	ctx     context.Context // ends when no client waits any more
	u       *Upstream       // nil for a probe
	targets *targets        // as they were when it began
	opts    *options
	q       wire.Query
	end     time.Time

	waiting    []*resolver // to be asked, in this order
	lanes      []*lane     // of those that were
	mail       mailbox
	best       *answer
	lastResort *answer // if no resolver has a better one
	err        error   // of the last one that failed
	sent       bool    // a packet may have left

	// Enough for nearly all queries, without a further allocation.
	lane    lane
	flight  flight
	lanes1  [1]*lane
	events1 [1]event
}

// stale reports whether the resolvers may no longer be asked.
func (r *race) stale() bool {
	if r.u == nil {
		return r.ctx.Err() != nil
	}
	return r.u.targets().round != r.targets.round
}

// inUse reports whether a resolver that fails may be probed.
func (r *race) inUse(to *resolver) bool { return r.u == nil || r.u.inUse(to) }

// run returns the answer. It leaves behind only what may still show whether a resolver
// is slow, and ends that by itself.
func (r *race) run() (*answer, error) {
	r.mail.wake, r.mail.events, r.lanes = make(chan struct{}, 1), r.events1[:0], r.lanes1[:0]
	due := r.advance(time.Now())
	timer := time.NewTimer(r.sleep(due))
	defer timer.Stop()
	var events [4]event
	for r.best == nil && r.open() {
		select {
		case <-r.mail.wake:
			for _, e := range r.mail.take(events[:0]) {
				r.handle(e)
			}
		case <-timer.C:
		case <-r.ctx.Done():
			r.close(r.lanes)
			return nil, r.ctx.Err()
		}
		if r.best != nil {
			break
		}
		now := time.Now()
		if r.stale() {
			r.close(r.lanes)
			return nil, errStale
		}
		if !now.Before(r.end) {
			r.expire(now)
			break
		}
		due = r.advance(now)
		timer.Reset(r.sleep(due))
	}
	return r.result()
}

func (r *race) sleep(due time.Time) time.Duration { return min(time.Until(due), tick) }

// open reports whether an answer may still come.
func (r *race) open() bool {
	for _, l := range r.lanes {
		if !l.over {
			return true
		}
	}
	return len(r.waiting) > 0
}

// advance does what is due, and returns when more will be.
func (r *race) advance(now time.Time) time.Time {
	due := r.end
	for _, l := range r.lanes {
		if !l.over {
			due = earlier(due, l.advance(now))
		}
	}
	for len(r.waiting) > 0 {
		if n := len(r.lanes); n > 0 && !r.lanes[n-1].over {
			last := r.lanes[n-1]
			if next := last.begun.Add(last.patience); now.Before(next) && !r.together(n, now) {
				return earlier(due, next)
			}
			if !r.together(n, now) {
				r.u.metrics.hedges.Inc()
			}
		}
		next := r.waiting[0]
		r.waiting = r.waiting[1:]
		if r.lastResort != nil && unhealthy(next) {
			continue // it is probed, and is healthy again as soon as it answers
		}
		l := newLane(r, next, now)
		r.lanes = append(r.lanes, l)
		l.start()
		due = earlier(due, l.due)
	}
	return due
}

// together reports whether the next resolver is asked at once, beside n others.
func (r *race) together(n int, now time.Time) bool {
	return r.opts.policy == together && n < raced && rank(r.waiting[0], now) == 0
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

func (r *race) handle(e event) {
	f := e.flight
	switch {
	case e.socket != nil && !f.open:
		f.pool.put(e.socket) // opened too late
	case !f.open:
	case e.socket != nil:
		f.depart(e.socket)
	case e.err != nil:
		f.lane.lost(f, e.err)
	case e.msg != nil && (e.odd == "" || e.odd == wire.UnknownID):
		f.lane.heard(f, e.msg, e.odd != "")
	default:
		f.lane.odd(f, e.odd, e.msg)
	}
}

// answered takes the reply of a resolver.
func (r *race) answered(from *resolver, m *dns.Msg) {
	m.AuthenticatedData = m.AuthenticatedData && from.authentic()
	a := &answer{m, from.name, r.targets != nil && r.targets.fallback}
	if m.Truncated || unhelpful(m) {
		r.lastResort = a
		return
	}
	r.best = a
}

// expire ends the race at the end of its budget.
func (r *race) expire(now time.Time) {
	for i, l := range r.lanes {
		if l.over {
			continue
		}
		if part := l.held; part != nil {
			r.answered(l.r, part)
		} else if !l.replied {
			given := now.Sub(l.begun)
			err := fmt.Errorf("%w in %s", errTimeout, given.Round(10*time.Millisecond))
			r.sent = r.sent || l.r.tcp.mux != nil // at least what connects
			if l.poisoned {
				l.fail(errIgnored, false) // its silence tells nothing of it
				continue
			}
			// A resolver that was given only the rest of the budget has not failed by silence.
			l.fail(err, i == 0 || given >= r.opts.timeout/2)
		}
		l.learn()
	}
}

// result closes what is open and returns the answer, the last resort or the last error.
func (r *race) result() (*answer, error) {
	a := r.best
	if a == nil {
		r.close(r.lanes)
		a = r.lastResort
	} else if late := r.late(); len(late) > 0 {
		go r.linger(late)
	} else {
		r.close(r.lanes)
	}
	switch {
	case a != nil:
		return a, nil
	case r.err == nil:
		return nil, errTimeout
	case !r.sent:
		return nil, unsentError{r.err}
	}
	return nil, r.err
}

// late returns the lanes that are open although their patience is over, and closes
// the others.
func (r *race) late() []*lane {
	var late []*lane
	for i, l := range r.lanes {
		if l.late && l.flying() {
			late = append(late, l)
		} else {
			r.lanes[i].close()
		}
	}
	return late
}

// linger waits for the rest of one timeout for replies that come too late for the answer. They
// tell a slow resolver from a dead one, and a lost packet from one that is never answered.
// It sends nothing.
func (r *race) linger(late []*lane) {
	timer := time.NewTimer(time.Until(late[len(late)-1].begun.Add(r.opts.timeout)))
	defer timer.Stop()
	flying := func() bool {
		for _, l := range late {
			if l.flying() {
				return true
			}
		}
		return false
	}
	for waiting := true; waiting && flying(); {
		select {
		case <-late[0].r.ctx.Done():
			r.close(late)
			return
		case <-timer.C:
			waiting = false
		case <-r.mail.wake:
			for _, e := range r.mail.take(nil) {
				if f := e.flight; f.open && e.msg != nil && e.odd == "" {
					f.lane.overheard(f, e.msg)
				} else if f.open && e.err != nil {
					f.close()
				} else if e.socket != nil {
					f.pool.put(e.socket)
				}
			}
		}
	}
	for _, l := range late {
		if !l.replied {
			l.fail(fmt.Errorf("%w in %s", errTimeout, time.Since(l.begun).Round(time.Millisecond)), !l.poisoned)
		}
		l.learn()
	}
	r.close(late)
}

// close ends the flights of the lanes and, with them, the race.
func (r *race) close(lanes []*lane) {
	for _, l := range lanes {
		l.close()
	}
	for _, e := range r.mail.close() {
		if e.socket != nil {
			e.flight.pool.put(e.socket)
		}
	}
}
