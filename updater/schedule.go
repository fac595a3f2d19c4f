package updater

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// Timers say how often something is tried. Zero fields have the defaults below.
type Timers struct {
	Every     time.Duration // instead of every list's own `every`; 0 leaves those
	RetryMin  time.Duration // pause after the first failure, doubled with each further one; 1 min
	RetryMax  time.Duration // longest pause, where the list's `every` is not shorter; 6 h
	RetryDown time.Duration // longest pause while the list's route is down; 1 min
	Poll      time.Duration // longest time between two checks of what is due: the clock may jump; 1 min
	now       func() time.Time
}

func (t *Timers) fill() {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&t.RetryMin, time.Minute}, {&t.RetryMax, 6 * time.Hour}, {&t.RetryDown, time.Minute}, {&t.Poll, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	if t.now == nil {
		t.now = time.Now
	}
}

func (t Timers) every(s gateway.Source) time.Duration {
	if t.Every > 0 {
		return t.Every
	}
	return s.Every
}

// spread is the share of an interval by which it may be longer, so that machines that
// were switched on together do not stay synchronized.
const spread = 0.1

func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*spread*float64(d))
}

// scheduleLocked sets when a list is fetched next, after the result of this update.
func (u *Updater) scheduleLocked(s gateway.Source, m *meta, r Result) {
	t := u.options.Timers
	wait := t.every(s)
	if r.Err == nil {
		m.Failures, m.Error = 0, ""
	} else {
		wait = t.backoff(s, m.Failures, r.Err)
		m.Failures++
		m.Error = truncate(r.Err.Error())
	}
	m.Next = t.now().Add(jitter(wait)).Round(0)
	u.notBefore[s.List] = m.Next
}

// truncate bounds the text of an error that is stored.
func truncate(text string) string {
	const limit = 4096
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

// backoff returns the pause after a failure that followed so many others.
func (t Timers) backoff(s gateway.Source, failures int, err error) time.Duration {
	longest := min(t.RetryMax, t.every(s))
	wait := min(t.RetryMin<<min(failures, 16), longest)
	if errors.Is(err, errRouteDown) {
		return min(wait, t.RetryDown)
	}
	var status *statusError
	if errors.As(err, &status) && status.retryAfter > wait { // the server knows when it is worth while
		wait = min(status.retryAfter, t.every(s))
	}
	return wait
}

// dueLocked returns when a list is to be fetched. A time that is further off than the
// list's interval allows was written while the clock was wrong; it is replaced once, by
// an interval from now, and not again each time that it is looked at.
func (u *Updater) dueLocked(s gateway.Source, m meta) time.Time {
	t := u.options.Timers
	next := m.Next
	if at := u.notBefore[s.List]; at.After(next) {
		next = at
	}
	latest := t.now().Add(time.Duration((1 + spread) * float64(t.every(s))))
	if !next.After(latest) {
		delete(u.clamped, s.List)
		return next
	}
	u.notBefore[s.List] = time.Time{}
	if at, ok := u.clamped[s.List]; ok && !at.After(latest) {
		return at
	}
	u.clamped[s.List] = latest
	return latest
}

// fetchDue fetches the lists that are due and returns when it is to be called again.
func (u *Updater) fetchDue(ctx context.Context) (next time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.useConfigLocked()
	t := u.options.Timers
	next = t.now().Add(t.Poll)
	for _, s := range u.config.Sources {
		if ctx.Err() != nil {
			break
		}
		m, _ := readMeta(u.store.meta(s.List)) // loadMetaLocked reports the error
		at := u.dueLocked(s, m)
		if !t.now().Before(at) || u.urlReplacedLocked(s, m) || u.contentMissing(s, m) {
			u.updateLocked(ctx, s, Flags{})
			at = u.notBefore[s.List]
		}
		if at.Before(next) {
			next = at
		}
	}
	return next
}

// urlReplacedLocked reports whether the content came from a URL that the list no longer
// has, and no other was tried since: it is fetched at once.
func (u *Updater) urlReplacedLocked(s gateway.Source, m meta) bool {
	return m.URL != "" && u.notBefore[s.List].IsZero() && !slices.Contains(s.URLs, m.URL)
}

// contentMissing reports whether content that was stored is gone: it is fetched at once.
func (u *Updater) contentMissing(s gateway.Source, m meta) bool {
	if m.SHA256 == "" {
		return false
	}
	_, err := os.Stat(u.store.content(s.List))
	return errors.Is(err, fs.ErrNotExist)
}
