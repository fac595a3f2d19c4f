package main

import (
	"errors"

	"github.com/nameroute/nameroute/gateway"
)

// Exit codes. A script can tell what to mend without reading the message.
const (
	exitOK       = 0
	exitFailure  = 1  // what none of the others says
	exitUsage    = 2  // the command line
	exitConfig   = 3  // gateway.yaml
	exitCorefile = 4  // the Corefile, or what it names
	exitList     = 5  // a list that is missing, empty or cannot be read
	exitDenied   = 6  // a privilege is missing
	exitPort     = 7  // a port is taken by somebody else
	exitRunning  = 8  // another nameroute runs
	exitHost     = 9  // `check`: the files are right, the host or a provider's file is not
	exitDown     = 10 // `status`: it runs, and a route is down
)

// exitCodes is the text of `nameroute help exit-codes`.
const exitCodes = `nameroute ends with

   0  it did what was asked; status: it runs and all routes are up
   1  something that none of the following says; status: nothing runs
   2  wrong command line
   3  gateway.yaml is wrong or cannot be read
   4  the Corefile is wrong, or names a route or list that does not exist
   5  a list is missing, empty or cannot be read
   6  a privilege is missing
   7  a port is taken by another program
   8  another nameroute runs already
   9  check: both files are right, but the host or a provider's file is not
  10  status: it runs, but a route is down
`

// exitError carries an exit code. Without an error everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "said already"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// withCode gives an error the exit code that it should end the program with, unless
// it has one already.
func withCode(code int, err error) error {
	var e *exitError
	if err == nil || errors.As(err, &e) {
		return err
	}
	return &exitError{code, err}
}

// exitCode finds the code for an error that ends the program.
func exitCode(err error) int {
	var e *exitError
	var p gateway.Problems
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.As(err, &p):
		return exitConfig
	}
	return exitFailure
}
