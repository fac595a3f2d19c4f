package config

import (
	"fmt"
	"strings"

	"github.com/nameroute/nameroute/gateway"
)

// badName returns what is wrong with the name of a route or a list, and what is wanted.
// Names become parts of names of nft sets, of metrics and of the Corefile, all of which
// allow these characters.
func badName(name string) (why, want string) {
	const shape = "want a lower-case letter, then lower-case letters, digits, - or _"
	if name == "" {
		return "empty name", shape
	}
	if len(name) > gateway.MaxNameLen {
		return fmt.Sprintf("name of %d bytes", len(name)), fmt.Sprintf("want at most %d", gateway.MaxNameLen)
	}
	for i, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-_", rune(c))) {
			return "invalid name", shape
		}
	}
	return "", ""
}

// badLink returns what is wrong with the name of an interface, and what is wanted. The
// kernel's own rule (dev_valid_name: 1 to 15 bytes, not . or .., no / : or white space) is
// narrowed to printable ASCII without the patterns and quotes of ip(8) and nft(8).
func badLink(name string) (why, want string) {
	switch {
	case len(name) > gateway.MaxInterfaceName:
		return fmt.Sprintf("name of %d bytes", len(name)), fmt.Sprintf("want at most %d", gateway.MaxInterfaceName)
	case name == "." || name == "..":
		return "invalid interface name", ""
	case strings.ContainsRune(name, '*'):
		return "patterns are not supported", "want each interface by name"
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || strings.IndexByte(`/:%"'\`, c) >= 0 {
			return fmt.Sprintf("%q is not allowed in an interface name", c), ""
		}
	}
	return "", ""
}
