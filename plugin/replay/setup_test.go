package replay

import (
	"strings"
	"testing"

	"github.com/coredns/caddy"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"replay off":                       "",
		"replay on":                        "",
		"replay off {\n config /a.yaml\n}": "",
		"replay":                           "want on or off",
		"replay maybe":                     "want on or off",
		"replay off now":                   "want on or off",
		"replay off {\n size 1\n}":         "unknown property",
		"replay off {\n config\n}":         "want one file",
		"replay off\nreplay off":           "once",
	} {
		config, off, err := parse(caddy.NewTestController("dns", text))
		switch {
		case want == "" && (err != nil || off != strings.Contains(text, "off") || (config != "") != strings.Contains(text, "config")):
			t.Errorf("%q: off %v, config %q, %v", text, off, config, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}
