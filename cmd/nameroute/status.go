package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

func statusCommand(o *options) *cobra.Command {
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how routes, lists, sets and resolvers are",
		Long: `Show how routes, lists, sets and resolvers are: what is up and since when, what the
closed door stopped, how full the sets are, which resolvers answer and how fast.

The names in the JSON are stable. The exit code is 0 where all routes are up, 10 where
one is down, and 1 where nothing runs.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := printStatus
			if asJSON {
				show = printStatusJSON
			}
			if watch {
				return watchStatus(o, cmd.OutOrStdout(), show)
			}
			d, err := readStatus(o)
			if err != nil {
				return err
			}
			if err := show(cmd.OutOrStdout(), d); err != nil {
				return err
			}
			return d.verdict()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&watch, "watch", false, "show it anew each second, until Ctrl-C")
	return c
}

// readStatus asks whatever runs, whole or in parts.
func readStatus(o *options) (statusDoc, error) {
	var docs []statusDoc
	for _, parts := range control.Processes() {
		text, err := control.Get(control.Socket(o.Run, parts), "status")
		if errors.Is(err, control.ErrNotRunning) {
			continue
		}
		if err != nil {
			return statusDoc{}, err
		}
		var d statusDoc
		if err := json.Unmarshal(text, &d); err != nil {
			return d, fmt.Errorf("read the answer: %w", err)
		}
		docs = append(docs, d)
	}
	if len(docs) == 0 {
		return statusDoc{}, fmt.Errorf("%w: start it with `nameroute run`", control.ErrNotRunning)
	}
	return mergeStatus(docs), nil
}

// verdict is the exit code: a script need not read the page.
func (d statusDoc) verdict() error {
	for _, r := range d.Routes {
		if !r.Up {
			return &exit.Error{Code: exit.Down}
		}
	}
	return nil
}

func printStatusJSON(w io.Writer, d statusDoc) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

// watchPause is between two looks of --watch.
const watchPause = time.Second

// watchStatus shows the page until a signal ends it. That nothing runs is shown and
// not the end: one watches a restart, too.
func watchStatus(o *options, out io.Writer, show func(io.Writer, statusDoc) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	clear := ""
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		clear = "\x1b[H\x1b[2J" // cursor home, erase the screen (ECMA-48)
	}
	tick := time.NewTicker(watchPause)
	defer tick.Stop()
	for {
		d, err := readStatus(o)
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
			return err // nobody reads it any more
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
