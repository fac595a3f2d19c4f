package sidecar

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nameroute/nameroute/gateway/policy"
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

// reportLocal logs when a network that the box is connected to is too suspicious to be local,
// or there are too many that would be, and when that is over.
func (r *reconciler) reportLocal(l policy.Local) {
	var odd []string
	for _, n := range l.Others {
		if n.Suspect {
			odd = append(odd, n.String()+" ("+n.Because+")")
		}
	}
	if l.TooMany > 0 {
		odd = append(odd, fmt.Sprintf("%d networks behind gateways: too many", l.TooMany))
	}
	switch changed, ended := r.problems.Set("local networks", strings.Join(odd, ", ")); {
	case changed:
		r.log.Warn("networks are not taken as local", "networks", odd)
	case ended:
		r.log.Info("all networks of the box are taken as local again")
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
