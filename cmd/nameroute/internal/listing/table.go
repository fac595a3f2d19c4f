// Package listing prints what the commands about lists say.
package listing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/updater"
)

// Row is what `lists` shows of one list. The names in the JSON are stable.
type Row struct {
	Name       string    `json:"name"`
	Source     string    `json:"source"` // file or URL
	Via        string    `json:"via,omitempty"`
	Format     string    `json:"format,omitempty"`
	Entries    int       `json:"entries"` // names, exceptions included
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

// Rows reads every list as a start would.
func Rows(cfg *gateway.Config, state string) []Row {
	status := updater.ReadStatus(cfg, state)
	rows := []Row{}
	for _, l := range cfg.Lists {
		row := Row{Name: l.Name, Source: l.File}
		if info, err := os.Stat(l.File); err == nil {
			row.Size, row.Changed = info.Size(), info.ModTime()
		}
		if s, fetched := cfg.Source(l.Name); fetched {
			st, _ := status.List(l.Name)
			row.fetched(s, st)
		}
		if !row.Missing {
			row.read(l)
		}
		rows = append(rows, row)
	}
	return rows
}

func (row *Row) fetched(s gateway.Source, st updater.ListStatus) {
	row.Source, row.Via = s.URLs[0], s.Via
	if st.URL != "" {
		row.Source = st.URL
	}
	row.Size, row.Changed, row.Checked, row.Next = st.Size, st.Fetched, st.Checked, st.Next
	row.Versions, row.Missing, row.Shipped, row.LastError = st.Versions, st.Missing, st.Shipped, st.Error
	if st.Err != nil {
		row.LastError = st.Err.Error()
	}
	if st.Missing {
		row.Error = "no content yet: its names are not routed"
		if s.Missing == gateway.MissingFail {
			row.Error = "no content yet: names on no other list are answered SERVFAIL"
		}
	}
}

func (row *Row) read(l gateway.List) {
	r, err := lists.Check(l)
	row.Format, row.Suffix, row.Full, row.Keyword, row.Regexp = r.Format, r.Suffix, r.Full, r.Keyword, r.Regexp
	row.Exceptions, row.Prefixes, row.Skipped = r.Exceptions, r.Prefixes, r.Skipped
	row.Entries = r.Entries()
	if err != nil {
		row.Error = err.Error()
		row.Missing = errors.Is(err, os.ErrNotExist)
	}
}

// Print prints the rows as a table, with the lists' problems below it.
func Print(out io.Writer, rows []Row, now time.Time) error {
	w := bufio.NewWriter(out)
	t := output.NewTable("LIST", ">ENTRIES", ">SUFFIX", ">FULL", ">KEYWORD", ">REGEXP", ">EXCEPT", ">PREFIX", ">SIZE", ">AGE", ">NEXT", "SOURCE")
	t.Wide = true
	for _, r := range rows {
		source := r.Source
		if r.Shipped {
			source = "copy from the package, then " + source
		}
		if r.Via != "" {
			source += " via " + r.Via
		}
		age := r.Changed
		if r.Checked.After(age) {
			age = r.Checked
		}
		cells := []string{r.Name}
		for _, n := range []int{r.Entries, r.Suffix, r.Full, r.Keyword, r.Regexp, r.Exceptions, r.Prefixes} {
			cells = append(cells, strconv.Itoa(n))
		}
		t.Add(append(cells, output.Bytes(r.Size), output.Since(now, age), until(now, r), source)...)
	}
	t.Print(w)
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(w, "%s: %s\n", r.Name, indented(r.Error))
		}
		if r.LastError != "" {
			fmt.Fprintf(w, "%s: last fetch: %s\n", r.Name, indented(r.LastError))
		}
	}
	return w.Flush()
}

func indented(text string) string { return strings.ReplaceAll(text, "\n", "\n    ") }

func until(now time.Time, r Row) string {
	switch {
	case r.Via == "":
		return "-"
	case !r.Next.After(now):
		return "now"
	}
	return output.Duration(r.Next.Sub(now))
}
