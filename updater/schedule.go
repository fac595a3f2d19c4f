package updater

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// Timers are how often something is tried. Zero fields have the defaults below.
type Timers struct {
	Every      time.Duration // instead of every list's own `every`; 0 leaves those
	RetryFirst time.Duration // after the first failure; it doubles with each further one. 1 min
	RetryMost  time.Duration // and ends here, or at the list's `every`. 6 h
	RetryDown  time.Duration // at most this while the list's route is down. 1 min
	Look       time.Duration // between two looks at what is due, whatever the clock did. 1 min
	now        func() time.Time
}

func (t Timers) withDefaults() Timers {
	or := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	or(&t.RetryFirst, time.Minute)
	or(&t.RetryMost, 6*time.Hour)
	or(&t.RetryDown, time.Minute)
	or(&t.Look, time.Minute)
	if t.now == nil {
		t.now = time.Now
	}
	return t
}

func (t Timers) every(s gateway.Source) time.Duration {
	if t.Every > 0 {
		return t.Every
	}
	return s.Every
}

// spread is the part of an interval by which it may be longer, so that boxes that
// were switched on together do not ask together for ever.
const spread = 0.1

func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*spread*float64(d))
}

// plan sets when a list is fetched next, after what became of it now.
func (u *Updater) plan(s gateway.Source, m *meta, r Result) {
	t := u.options.Timers
	wait := t.every(s)
	if r.Err == nil {
		m.Failures, m.Error = 0, ""
	} else {
		wait = t.backoff(s, m.Failures, r.Err)
		m.Failures++
		m.Error = shorten(r.Err.Error())
	}
	m.Next = t.now().Add(jitter(wait)).Round(0)
	u.after[s.List] = m.Next
}

// shorten bounds what is remembered of an error.
func shorten(text string) string {
	const most = 4096
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// backoff is the pause after a failure that had so many before it.
func (t Timers) backoff(s gateway.Source, before int, err error) time.Duration {
	most := min(t.RetryMost, t.every(s))
	wait := min(t.RetryFirst<<min(before, 16), most)
	if errors.Is(err, errDown) {
		return min(wait, t.RetryDown)
	}
	var status *statusError
	if errors.As(err, &status) && status.after > wait { // the server knows when it is worth while
		wait = min(status.after, t.every(s))
	}
	return wait
}

// due is when a list is to be fetched. What lies further off than the list's interval
// allows was written by a clock that was wrong; then it is an interval from when that
// was first seen, and not, at each look, from that look.
func (u *Updater) due(s gateway.Source, m meta) time.Time {
	t := u.options.Timers
	next := m.Next
	if after := u.after[s.List]; after.After(next) {
		next = after
	}
	latest := t.now().Add(time.Duration((1 + spread) * float64(t.every(s))))
	if !next.After(latest) {
		delete(u.instead, s.List)
		return next
	}
	u.after[s.List] = time.Time{}
	if at, ok := u.instead[s.List]; ok && !at.After(latest) {
		return at
	}
	u.instead[s.List] = latest
	return latest
}

// Run fetches what is due, until ctx ends. Everything that it needs to know lies on
// disk, so that a restart fetches nothing again that is fresh.
func (u *Updater) Run(ctx context.Context) {
	for ctx.Err() == nil {
		next := u.pass(ctx)
		wait := min(u.options.Timers.Look, max(0, next.Sub(u.options.Timers.now())))
		select {
		case <-ctx.Done():
		case <-u.kick:
		case <-time.After(wait):
		}
	}
}

// pass fetches what is due and returns when something will be.
func (u *Updater) pass(ctx context.Context) (next time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.takeUp()
	t := u.options.Timers
	next = t.now().Add(t.Look)
	for _, s := range u.config.Sources {
		if ctx.Err() != nil {
			break
		}
		m, _ := readMeta(u.store.meta(s.List)) // one that cannot be read is told by load
		at := u.due(s, m)
		if !t.now().Before(at) || u.moved(s, m) || u.lost(s, m) {
			u.update(ctx, s, Flags{})
			at = u.after[s.List]
		}
		if at.Before(next) {
			next = at
		}
	}
	return next
}

// moved reports a list whose content came from a URL that is no longer its own and
// that was not tried since: it is fetched at once.
func (u *Updater) moved(s gateway.Source, m meta) bool {
	if m.URL == "" || !u.after[s.List].IsZero() {
		return false
	}
	for _, known := range s.URLs {
		if known == m.URL {
			return false
		}
	}
	return true
}

// lost reports a list whose content is gone: it is fetched at once.
func (u *Updater) lost(s gateway.Source, m meta) bool {
	if m.SHA256 == "" {
		return false
	}
	_, err := os.Stat(u.store.content(s.List))
	return errors.Is(err, fs.ErrNotExist)
}
