package wg

import (
	"fmt"
	"strconv"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Problem is one thing that is wrong with a provider's file.
type Problem struct {
	File string
	Line int
	Key  string // "" where the line has none
	Got  string // the value in quotes, or words for it; never a key
	Want string // what would be right
}

// String prints the problem as file:line: key: "value": what would be right.
func (p Problem) String() string {
	if p.Key == "" {
		return fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Got, p.Want)
	}
	return fmt.Sprintf("%s:%d: %s: %s: %s", p.File, p.Line, p.Key, p.Got, p.Want)
}

// ConfError lists every problem of a file, in the order of its lines.
type ConfError struct{ Problems []Problem }

// Error prints one problem a line.
func (e *ConfError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// notShown stands for a value that is, or may be, a key.
const notShown = "(not shown)"

// maxShown bounds how much of a value is repeated in a message, in bytes.
const maxShown = 80

// show quotes a value for a message, unless it may be a secret: messages go to
// logs and into bug reports.
func show(key, value string) string {
	if strings.Contains(strings.ToLower(key), "key") || hasSecret(value) {
		return notShown
	}
	if len(value) > maxShown {
		return strconv.Quote(value[:maxShown]) + "..."
	}
	return strconv.Quote(value)
}

// showName prints the name of a setting: as it is where it is a word, and with the
// care of a value where it is something else.
func showName(key string) string {
	if hasSecret(key) || strings.Trim(key, hostChars) != "" {
		return show("", key)
	}
	return key[:min(len(key), maxShown)]
}

// hasSecret reports whether the text has a run of characters as long as a key in
// base64 (44) or hex (64), or nearly: half a key is too much as well.
func hasSecret(text string) bool {
	const keyLike = 40
	run := 0
	for _, r := range text {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", r) {
			run = 0
			continue
		}
		if run++; run >= keyLike {
			return true
		}
	}
	return false
}

// keyName shortens a public key to what tells peers apart in a log.
func keyName(k wgtypes.Key) string { return "peer " + k.String()[:8] }
