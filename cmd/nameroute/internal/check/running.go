package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/probe"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
)

// checkRunning reports what the running nameroute knows of its routes and, where that is
// asked for, what probes find. What neither has looked at is unknown. cfg is nil where
// gateway.yaml is wrong.
func checkRunning(ctx context.Context, o Options, cfg *gateway.Config, core *corefile.File, r *report) {
	active := o.Active && cfg != nil // what runs with a wrong file has other files, and there is nothing to probe
	doc, err := status.Read(o.Run)
	var found []status.Finding
	if active {
		found = probe.Run(ctx, probe.Options{Config: cfg, Uses: Uses(cfg, core), Listeners: listenersOf(core), Running: err == nil})
		doc, err = settled(ctx, o.Run)
	}
	switch {
	case err == nil:
		reportRoutes(doc, r)
	case !errors.Is(err, control.ErrNotRunning):
		r.unknown("the running nameroute: %v", err)
	}
	if cfg != nil && !o.Active {
		r.unknown("whether tunnels shake hands, resolvers answer, and packets and clients get through was not tried: nameroute check --active")
	}
	r.addAll(found)
}

// The probes have made tunnels shake hands; the running nameroute needs a moment to see it.
const (
	settleLimit = 5 * time.Second
	settlePoll  = 100 * time.Millisecond
)

// settled reads the status of the running nameroute when none of its routes waits for a
// handshake any more, or settleLimit later.
func settled(ctx context.Context, run string) (status.Doc, error) {
	for began := time.Now(); ; {
		doc, err := status.Read(run)
		waits := slices.ContainsFunc(doc.Routes, func(route status.Route) bool { return route.State == "waiting" })
		if err != nil || !waits || time.Since(began) > settleLimit {
			return doc, err
		}
		select {
		case <-ctx.Done():
			return doc, nil
		case <-time.After(settlePoll):
		}
	}
}

// reportRoutes reports the states of the routes, and whether the files are in use.
func reportRoutes(doc status.Doc, r *report) {
	for _, p := range doc.Processes {
		switch {
		case p.LastGood != "":
			r.warn("the running nameroute uses the last good files: %s", p.LastGood)
		case p.Refused != nil:
			r.warn("the running nameroute has not taken the files as they are, since %s: %s", p.Refused.Since.Format(time.DateTime), p.Refused.Error)
		}
	}
	for _, route := range doc.Routes {
		switch {
		case route.State == "up":
			r.ok("route %s: up for %s, says the running nameroute", route.Name, output.Since(doc.At, route.Since))
		case route.State == "down":
			r.wrong(exit.Host, fmt.Errorf("route %s: down for %s: %s", route.Name, output.Since(doc.At, route.Since), route.Reason))
		default:
			r.unknown("route %s: %s for %s: %s", route.Name, route.State, output.Since(doc.At, route.Since), output.OrDash(route.Reason))
		}
		if p := route.Probes; p != nil {
			reportProbes("route "+route.Name, *p, r)
		}
		for _, m := range route.Members {
			if route.By == "probe" {
				reportProbes(fmt.Sprintf("route %s: member %s", route.Name, m.Name), m.Probes, r)
			}
		}
	}
}

// reportProbes reports what the running process has found by probes of gateway.yaml, those
// through members of a group that rest included.
func reportProbes(of string, p status.Probes, r *report) {
	switch p.State {
	case "good":
		r.ok("%s: its probes succeed, says the running nameroute", of)
	case "bad":
		r.warn("%s: its probes fail: %s", of, output.OrDash(p.Reason))
	default:
		r.unknown("%s: its probes have found nothing yet: %s", of, output.OrDash(p.Reason))
	}
}

// addAll adds the findings of probes.
func (r *report) addAll(found []status.Finding) {
	for _, f := range found {
		if f.Level == status.LevelError && r.code == 0 {
			r.code = exit.Host
		}
		r.add(f)
	}
}

// Page is what `check --json` prints.
type Page struct {
	At       time.Time        `json:"at"`
	State    status.State     `json:"state"`
	Findings []status.Finding `json:"findings"`
}

func (r *report) printJSON(w io.Writer) error {
	return output.JSON(w, Page{time.Now(), r.state(), r.findings})
}
