package config

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// badName says what is wrong with the name of a route or a list, and what would
// be right. Names become parts of the names of nft sets and chains, of metrics and
// of words in the Corefile, all of which take these characters as they are.
func badName(name string) (why, want string) {
	const shape = "want a lower-case letter, then lower-case letters, digits, - or _"
	if name == "" {
		return "an empty name", shape
	}
	if len(name) > gateway.MaxNameLen {
		return fmt.Sprintf("a name of %d bytes", len(name)), fmt.Sprintf("want at most %d", gateway.MaxNameLen)
	}
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-_", rune(c))) {
			return "not a name", shape
		}
	}
	return "", ""
}

// badLink says what is wrong with the name of an interface. The kernel's own rule
// (dev_valid_name: 1 to 15 bytes, not . or .., no / : or white space) is narrowed to
// printable ASCII without what ip(8) and nft(8) take for patterns or quotes.
func badLink(name string) (why, want string) {
	switch {
	case len(name) > gateway.MaxInterfaceName:
		return fmt.Sprintf("a name of %d bytes", len(name)), fmt.Sprintf("want at most %d", gateway.MaxInterfaceName)
	case name == "." || name == "..":
		return "not the name of an interface", ""
	case strings.ContainsRune(name, '*'):
		return "patterns are not read", "name each interface"
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || strings.IndexByte(`/:%"'\`, c) >= 0 {
			return fmt.Sprintf("the name of an interface cannot have %q", c), ""
		}
	}
	return "", ""
}
