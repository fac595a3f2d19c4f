package check

import (
	"errors"
	"fmt"
	"io"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/status"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// report collects findings and prints them.
type report struct {
	out      io.Writer // nil: they are only collected
	findings []status.Finding
	code     int // the exit code of the first error
}

func (r *report) add(f status.Finding) {
	r.findings = append(r.findings, f)
	if r.out != nil {
		fmt.Fprintln(r.out, f)
	}
}

// ok reports what is right.
func (r *report) ok(format string, args ...any) { r.add(status.Found(status.LevelOK, format, args...)) }

// warn reports a warning. Warnings leave the exit code 0.
func (r *report) warn(format string, args ...any) {
	r.add(status.Found(status.LevelWarning, format, args...))
}

// unknown reports what has not been looked at, or what no look can tell, and how to find out.
func (r *report) unknown(format string, args ...any) {
	r.add(status.Found(status.LevelUnknown, format, args...))
}

// wrong reports what is wrong. An error that joins several counts as several.
func (r *report) wrong(code int, err error) {
	for _, e := range flatten(err) {
		if r.code == 0 {
			r.code = code
		}
		r.add(status.Found(status.LevelError, "%s", e.Error()))
	}
}

// count returns how many findings there are of a level.
func (r *report) count(l status.Level) int {
	n := 0
	for _, f := range r.findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// state returns what is known of all of it.
func (r *report) state() status.State {
	switch {
	case r.count(status.LevelError) > 0:
		return status.Bad
	case r.count(status.LevelUnknown) > 0:
		return status.Unknown
	}
	return status.Good
}

// totals counts the findings in words.
func (r *report) totals() string {
	errors, warnings := r.count(status.LevelError), r.count(status.LevelWarning)
	text := "no errors"
	if errors > 0 {
		text = output.Count(errors, "error")
	}
	if errors > 0 || warnings > 0 {
		text += ", " + output.Count(warnings, "warning")
	}
	if n := r.count(status.LevelUnknown); n > 0 {
		text += fmt.Sprintf(", %d unknown", n)
	}
	return text
}

// end prints the totals and returns the error that carries the exit code. With asked, what
// is unknown was looked for, and has an exit code of its own.
func (r *report) end(asked bool) error {
	if r.out != nil {
		fmt.Fprintln(r.out, r.totals())
	}
	switch {
	case r.state() == status.Bad:
		return &exit.Error{Code: r.code}
	case asked && r.state() == status.Unknown:
		return &exit.Error{Code: exit.Unknown}
	}
	return nil
}

// flatten returns the errors that an error joins.
func flatten(err error) []error {
	var p problem.Problems
	if errors.As(err, &p) {
		var all []error
		for _, e := range p {
			all = append(all, e)
		}
		return all
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range j.Unwrap() {
			all = append(all, flatten(e)...)
		}
		return all
	}
	return []error{err}
}
