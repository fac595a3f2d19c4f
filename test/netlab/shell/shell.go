// Package shell runs scripts of an operator's commands in a test's namespace.
package shell

import (
	"fmt"
	"os/exec"
	"testing"
)

// Run runs a script and returns what it printed; the test ends if it fails. Without args the
// script is taken as it is.
func Run(t testing.TB, script string, args ...any) string {
	t.Helper()
	out, err := Try(script, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", formatted(script, args), err, out)
	}
	return out
}

// Try is Run for scripts that may fail.
func Try(script string, args ...any) (string, error) {
	out, err := exec.Command("sh", "-ec", formatted(script, args)).CombinedOutput()
	return string(out), err
}

func formatted(script string, args []any) string {
	if len(args) == 0 {
		return script
	}
	return fmt.Sprintf(script, args...)
}
