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
	code     int // the exit code of the first error
}

// ok prints what is right.
func (r *report) ok(format string, args ...any) {
	fmt.Fprintf(r.out, "ok       %s\n", fmt.Sprintf(format, args...))
}

// warn prints a warning. Warnings leave the exit code 0.
func (r *report) warn(format string, args ...any) {
	r.warnings++
	fmt.Fprintf(r.out, "warning  %s\n", fmt.Sprintf(format, args...))
}

// wrong prints what is wrong. An error that joins several counts as several.
func (r *report) wrong(code int, err error) {
	for _, e := range flatten(err) {
		r.errors++
		if r.code == 0 {
			r.code = code
		}
		fmt.Fprintf(r.out, "error    %s\n", strings.ReplaceAll(e.Error(), "\n", "\n         "))
	}
}

// end prints the totals and returns the error that carries the exit code.
func (r *report) end() error {
	switch {
	case r.errors > 0:
		fmt.Fprintf(r.out, "%s, %s\n", output.Count(r.errors, "error"), output.Count(r.warnings, "warning"))
		return &exit.Error{Code: r.code}
	case r.warnings > 0:
		fmt.Fprintf(r.out, "no errors, %s\n", output.Count(r.warnings, "warning"))
	default:
		fmt.Fprintln(r.out, "no errors")
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
