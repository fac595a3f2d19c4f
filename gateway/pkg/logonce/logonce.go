// Package logonce decides whether a condition that lasts is worth another log line.
//
// Edge reports when a condition begins, changes or ends. Every reports an event at most
// once per interval and counts those that it suppressed. Neither writes a log itself, so
// that callers choose logger, level and words. They hold no state that anything but a log
// may depend on.
package logonce

import (
	"sync"
	"time"
)

// Edge remembers the last state of each subject. The zero value is ready; it may be used
// concurrently.
type Edge struct {
	mu   sync.Mutex
	last map[string]string
}

// Set records the state of a subject; "" is normal. It reports whether the state is not
// normal and differs from the last one, and whether the subject has returned to normal.
func (e *Edge) Set(subject, state string) (changed, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.last[subject]
	switch {
	case state == old:
		return false, false
	case state == "":
		delete(e.last, subject)
		return false, true
	}
	if e.last == nil {
		e.last = map[string]string{}
	}
	e.last[subject] = state
	return true, false
}

// Error is Set with the text of an error as the state; nil is normal.
func (e *Edge) Error(subject string, err error) (changed, ended bool) {
	if err == nil {
		return e.Set(subject, "")
	}
	return e.Set(subject, err.Error())
}

// Failing is Set for errors whose text varies while their cause does not: only the first
// error and the first success after it are reported.
func (e *Edge) Failing(subject string, err error) (began, ended bool) {
	if err == nil {
		return e.Set(subject, "")
	}
	return e.Set(subject, "failing")
}

// maxKeys bounds the events that an Every tells apart.
const maxKeys = 256

// Every limits how often an event is reported. It may be used concurrently.
type Every struct {
	// Interval is the least time between two reports of one event.
	Interval time.Duration
	// Quiet counts the interval from the last event, reported or not: an event is
	// reported only after none occurred for that long.
	Quiet bool

	mu   sync.Mutex
	seen map[string]event
}

type event struct {
	at         time.Time
	suppressed int
}

// Allow reports whether the event is to be reported now, and how many were suppressed
// since the last report.
func (e *Every) Allow(key string) (ok bool, suppressed int) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	last, known := e.seen[key]
	if known && now.Sub(last.at) < e.Interval {
		if last.suppressed++; e.Quiet {
			last.at = now
		}
		e.seen[key] = last
		return false, 0
	}
	if e.seen == nil {
		e.seen = map[string]event{}
	}
	if !known && len(e.seen) >= maxKeys {
		clear(e.seen)
	}
	e.seen[key] = event{at: now}
	return true, last.suppressed
}
