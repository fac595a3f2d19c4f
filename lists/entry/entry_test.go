package entry

import (
	"strings"
	"testing"
)

func TestLiterals(t *testing.T) {
	for expr, want := range map[string]string{
		`^img\d+\.example\.com$`: ".example.com",
		`(?:netflix|nflx)ext`:    "etflix flx",
		`^(netflix|prime)\d`:     "netflix prime",
		`A\.B`:                   "a.b",
		`(abc){2}x?`:             "abc",
		`(abc)+`:                 "abc",
		`(abc)*d`:                "d",
		`a|.*`:                   "",
		`[0-9]+`:                 "",
		`(`:                      "",
	} {
		if got := strings.Join(Literals(expr), " "); got != want {
			t.Errorf("Literals(%s) = %q, want %q", expr, got, want)
		}
	}
}
