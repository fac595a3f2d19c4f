package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
)

// Read asks every process that runs.
func Read(run string) (Doc, error) {
	var docs []Doc
	for _, parts := range control.Processes() {
		text, err := control.Get(control.Socket(run, parts), "status")
		if errors.Is(err, control.ErrNotRunning) {
			continue
		}
		if err != nil {
			return Doc{}, err
		}
		var d Doc
		if err := json.Unmarshal(text, &d); err != nil {
			return d, fmt.Errorf("read the answer: %w", err)
		}
		docs = append(docs, d)
	}
	if len(docs) == 0 {
		return Doc{}, fmt.Errorf("%w: start it with `nameroute run`", control.ErrNotRunning)
	}
	return Merge(docs), nil
}

// overall returns what is known of all of it, bad if anything is, and why.
func (d Doc) overall() (State, []string) {
	var bad, unknown []string
	for _, p := range d.Processes {
		switch {
		case p.LastGood != "":
			bad = append(bad, "the last good files are in use")
		case p.Refused != nil:
			bad = append(bad, "changed files are not in use")
		}
	}
	for _, r := range d.Routes {
		switch {
		case r.State == stateDown:
			bad = append(bad, "route "+r.Name+" is down")
		case r.Note != "":
			bad = append(bad, "route "+r.Name+": its changed file is not in use")
		case len(r.silentPeers()) > 0:
			bad = append(bad, fmt.Sprintf("route %s: %d of its %d peers are silent", r.Name, len(r.silentPeers()), len(r.Tunnel.Peers)))
		case r.State == "waiting" && r.Probes != nil && r.Probes.State == stateUnknown:
			unknown = append(unknown, "route "+r.Name+" waits for its probes")
		case r.State == "waiting":
			unknown = append(unknown, "route "+r.Name+" waits for its first handshake")
		case r.State != stateUp:
			unknown = append(unknown, "route "+r.Name+" is "+r.State)
		}
		for _, m := range r.Members {
			if m.State == string(Bad) && d.route(m.Name).Name == "" { // else it has a state of its own
				bad = append(bad, fmt.Sprintf("route %s: probes of its member %s fail", r.Name, m.Name))
			}
		}
	}
	for _, l := range d.Lists {
		if l.Error != "" {
			bad = append(bad, "list "+l.Name+" is not in use as it is")
		}
	}
	if n := d.Checks.errors(); n > 0 {
		bad = append(bad, output.Count(n, "failed check"))
	}
	if n := len(d.Problems); n > 0 {
		unknown = append(unknown, output.Count(n, "thing")+" that cannot be read")
	}
	switch {
	case len(bad) > 0:
		return Bad, append(bad, unknown...)
	case len(unknown) > 0:
		return Unknown, unknown
	}
	return Good, nil
}

// Verdict returns an error with the exit code that tells a script what is known.
func (d Doc) Verdict() error {
	switch d.State {
	case Bad:
		return &exit.Error{Code: exit.Down}
	case Unknown:
		return &exit.Error{Code: exit.Unknown}
	}
	return nil
}

// PrintJSON prints the document for a program.
func PrintJSON(w io.Writer, d Doc) error { return output.JSON(w, d) }

// watchPause is between two looks of --watch.
const watchPause = time.Second

// Watch shows the page until ctx ends. That nothing runs is shown and does not end it:
// a restart can be watched, too.
func Watch(ctx context.Context, run string, out io.Writer, show func(io.Writer, Doc) error) error {
	clear := ""
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		clear = "\x1b[H\x1b[2J" // cursor home, erase the screen (ECMA-48)
	}
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		d, err := Read(run)
		switch {
		case exit.Code(err) == exit.Denied:
			return err
		case err != nil:
			_, err = fmt.Fprintf(out, "%s%v\n", clear, err)
		default:
			if _, err = io.WriteString(out, clear); err == nil {
				err = show(out, d)
			}
		}
		if err != nil {
			return err // the reader is gone
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
