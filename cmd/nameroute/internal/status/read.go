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

// overall returns what is known of all of it: bad if anything is.
func (d Doc) overall() State {
	state := Good
	if len(d.Problems) > 0 {
		state = Unknown
	}
	for _, r := range d.Routes {
		switch {
		case r.State == stateDown, r.Note != "":
			return Bad
		case r.State != stateUp:
			state = Unknown
		}
	}
	if d.Checks.errors() {
		return Bad
	}
	for _, p := range d.Processes {
		if p.LastGood != "" || p.Refused != nil {
			return Bad
		}
	}
	for _, l := range d.Lists {
		if l.Error != "" {
			return Bad
		}
	}
	return state
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
func PrintJSON(w io.Writer, d Doc) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

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
