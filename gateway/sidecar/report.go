package sidecar

import (
	"context"
	"log/slog"
)

// maxLogged is how many changes of one apply are logged one by one. More of them are a
// first start or a removal, for which one line is enough.
const maxLogged = 4

// logChanges logs what was changed in the kernel.
func (r *reconciler) logChanges(changes []string, attrs ...any) {
	level := slog.LevelInfo
	if len(changes) > maxLogged {
		level = slog.LevelDebug
		r.log.Info("changed", append([]any{"count", len(changes), "first", changes[0]}, attrs...)...)
	}
	for _, change := range changes {
		r.log.Log(context.Background(), level, "changed", append([]any{"what", change}, attrs...)...)
	}
}

// report logs an error unless it is the last one of its subject; nil ends it.
func (r *reconciler) report(subject string, err error) {
	if changed, _ := r.problems.Error(subject, err); changed {
		r.log.Error(subject, "error", err)
	}
}

// fail reports an error, and has the apply repeated soon.
func (r *reconciler) fail(subject string, err error) {
	r.report(subject, err)
	r.failed = r.failed || err != nil
}
