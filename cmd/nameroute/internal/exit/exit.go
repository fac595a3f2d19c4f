// Package exit holds the program's exit codes and the errors that carry them.
package exit

import (
	"errors"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// Exit codes. A script can tell what to fix without parsing the message.
const (
	OK       = 0
	Failure  = 1  // none of the others
	Usage    = 2  // the command line
	Config   = 3  // gateway.yaml
	Corefile = 4  // the Corefile, or what it names
	List     = 5  // a list is missing, empty or unreadable
	Denied   = 6  // a privilege is missing
	Port     = 7  // a port is in use by another program
	Running  = 8  // another nameroute is running
	Host     = 9  // `check`: the files are right, the host or a provider's file is not
	Down     = 10 // `status`: running, and something is bad; `explain`
	Unknown  = 11 // `status`, `check --active`, `explain`: nothing is bad, but something is not known
)

// Help is the text of `nameroute help exit-codes`.
const Help = `nameroute exits with

   0  success; check: no error was found; status: running, and all routes are up
   1  any failure not listed below; status: not running
   2  invalid command line
   3  gateway.yaml is invalid or cannot be read
   4  the Corefile is invalid, or names a route or list that does not exist
   5  a list is missing, empty or cannot be read
   6  a privilege is missing
   7  a port is in use by another program
   8  another nameroute is already running
   9  check: both files are valid, but the host or a provider's file is not
  10  status: running, but a route is down, or files or lists are not in use;
      explain: something stands against the way that the files say
  11  status, check --active, explain: nothing is bad, but something is unknown, such
      as a tunnel that has not shaken hands yet
`

// Error carries an exit code. An Error without Err has already been reported.
type Error struct {
	Code int
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return "already reported"
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// With attaches to an error the exit code that it ends the program with, unless it
// has one already.
func With(code int, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &Error{code, err}
}

// Code returns the exit code for an error that ends the program.
func Code(err error) int {
	var e *Error
	var p problem.Problems
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.As(err, &p):
		return Config
	}
	return Failure
}

// Reported reports whether everything in an error has already been printed.
func Reported(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Err == nil
}
