package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/updater"
)

// listRow is what `lists` tells of one list. The names of the JSON are its face: they
// do not change.
type listRow struct {
	Name       string    `json:"name"`
	Source     string    `json:"source"` // file or URL
	Via        string    `json:"via,omitempty"`
	Format     string    `json:"format,omitempty"`
	Rules      int       `json:"rules"`
	Suffix     int       `json:"suffix"`
	Full       int       `json:"full"`
	Keyword    int       `json:"keyword"`
	Regexp     int       `json:"regexp"`
	Exceptions int       `json:"exceptions"`
	Prefixes   int       `json:"prefixes"`
	Skipped    int       `json:"skipped"`
	Size       int64     `json:"size"`                 // bytes
	Changed    time.Time `json:"changed,omitzero"`     // when the content came
	Checked    time.Time `json:"checked,omitzero"`     // when a server last had nothing newer
	Next       time.Time `json:"next,omitzero"`        // of the next fetch
	Versions   int       `json:"versions,omitempty"`   // to which a rollback can go back
	Missing    bool      `json:"missing,omitempty"`    // there is no content at all
	Shipped    bool      `json:"shipped,omitempty"`    // it is the copy that came with the package
	Error      string    `json:"error,omitempty"`      // what is wrong with the content
	LastError  string    `json:"last_error,omitempty"` // of the last fetch
}

func listsTableCommand(o *options) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "lists",
		Short: "Show the lists: what they hold, where it comes from, how old it is",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.Gateway()
			if err != nil {
				return err
			}
			rows := listRows(cfg, o.State)
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(rows)
			}
			return printLists(cmd.OutOrStdout(), rows, time.Now())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func rollbackCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "rollback NAME",
		Short: "Go back to the version of a fetched list before the one in use",
		Long: `Go back to the version of a fetched list before the one in use. The version that is
taken out is not taken again until its publisher changes it, or 'nameroute update
--force NAME' asks for it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return exit.With(exit.Usage, cobra.ExactArgs(1)(cmd, args))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.Gateway()
			if err != nil {
				return exit.With(exit.Config, err)
			}
			u := updater.New(updater.Options{Config: cfg, State: o.State})
			if err := u.Rollback(cmd.Context(), args[0]); err != nil {
				return exit.With(exit.List, err)
			}
			for _, s := range updater.Look(cfg, o.State) {
				if s.List == args[0] {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %d rules, fetched %s\n", s.List, s.Rules, s.Fetched.Format(time.DateTime))
				}
			}
			return nil
		},
	}
}

// listRows looks at every list as a start would read it.
func listRows(cfg *gateway.Config, state string) []listRow {
	status := map[string]updater.Status{}
	for _, s := range updater.Look(cfg, state) {
		status[s.List] = s
	}
	rows := []listRow{}
	for _, l := range cfg.Lists {
		row := listRow{Name: l.Name, Source: l.File}
		if info, err := os.Stat(l.File); err == nil {
			row.Size, row.Changed = info.Size(), info.ModTime()
		}
		if s, fetched := cfg.Source(l.Name); fetched {
			row.fetched(s, status[l.Name])
		}
		if !row.Missing {
			row.read(l)
		}
		rows = append(rows, row)
	}
	return rows
}

func (row *listRow) fetched(s gateway.Source, st updater.Status) {
	row.Source, row.Via = s.URLs[0], s.Via
	if st.URL != "" {
		row.Source = st.URL
	}
	row.Size, row.Changed, row.Checked, row.Next = st.Size, st.Fetched, st.Checked, st.Next
	row.Versions, row.Missing, row.Shipped, row.LastError = st.Kept, st.Missing, st.Shipped, st.Error
	if st.Unread != nil {
		row.LastError = st.Unread.Error()
	}
	if st.Missing {
		row.Error = "there is no content yet: its names are not routed"
		if s.Missing == gateway.MissingFail {
			row.Error = "there is no content yet: names on no other list are answered SERVFAIL"
		}
	}
}

func (row *listRow) read(l gateway.List) {
	r, err := lists.Check(l)
	row.Format, row.Suffix, row.Full, row.Keyword, row.Regexp = r.Format, r.Suffix, r.Full, r.Keyword, r.Regexp
	row.Exceptions, row.Prefixes, row.Skipped = r.Exceptions, r.Prefixes, r.Skipped
	row.Rules = r.Entries() + r.Prefixes
	if err != nil {
		row.Error = err.Error()
		row.Missing = errors.Is(err, os.ErrNotExist)
	}
}

func printLists(out io.Writer, rows []listRow, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LIST\tRULES\tSUFFIX\tFULL\tKEYWORD\tREGEXP\tEXCEPT\tPREFIX\tSIZE\tAGE\tNEXT\tSOURCE")
	for _, r := range rows {
		source := r.Source
		if r.Shipped {
			source = "shipped copy, then " + source
		}
		if r.Via != "" {
			source += " via " + r.Via
		}
		age := r.Changed
		if r.Checked.After(age) {
			age = r.Checked
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", r.Name, r.Rules, r.Suffix, r.Full, r.Keyword, r.Regexp,
			r.Exceptions, r.Prefixes, bytesText(r.Size), output.Since(now, age), until(now, r), source)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(out, "%s: %s\n", r.Name, indented(r.Error))
		}
		if r.LastError != "" {
			fmt.Fprintf(out, "%s: last fetch: %s\n", r.Name, indented(r.LastError))
		}
	}
	return nil
}

func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n    ") }

func until(now time.Time, r listRow) string {
	switch {
	case r.Via == "":
		return "-"
	case !r.Next.After(now):
		return "now"
	}
	return output.Duration(r.Next.Sub(now))
}
