package check

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// report prints and counts findings.
type report struct {
	out      io.Writer
	errors   int
	warnings int
	unknowns int
	code     int // the exit code of the first error
}

// ok prints what is right.
func (r *report) ok(format string, args ...any) {
	r.print("ok", fmt.Sprintf(format, args...))
}

// warn prints a warning. Warnings leave the exit code 0.
func (r *report) warn(format string, args ...any) {
	r.warnings++
	r.print("warning", fmt.Sprintf(format, args...))
}

// unknown prints what has not been looked at, or what no look can tell, and how to find out.
func (r *report) unknown(format string, args ...any) {
	r.unknowns++
	r.print("unknown", fmt.Sprintf(format, args...))
}

// print prints one finding.
func (r *report) print(level, text string) {
	fmt.Fprintf(r.out, "%-7s  %s\n", level, strings.ReplaceAll(text, "\n", "\n         "))
}

// wrong prints what is wrong. An error that joins several counts as several.
func (r *report) wrong(code int, err error) {
	for _, e := range flatten(err) {
		r.errors++
		if r.code == 0 {
			r.code = code
		}
		r.print("error", e.Error())
	}
}

// end prints the totals and returns the error that carries the exit code.
func (r *report) end() error {
	text := "no errors"
	if r.errors > 0 {
		text = output.Count(r.errors, "error")
	}
	if r.warnings > 0 || r.errors > 0 {
		text += ", " + output.Count(r.warnings, "warning")
	}
	if r.unknowns > 0 {
		text += fmt.Sprintf(", %d unknown", r.unknowns)
	}
	fmt.Fprintln(r.out, text)
	if r.errors > 0 {
		return &exit.Error{Code: r.code}
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
