package provider

import "strings"

// hidden replaces a value that is, or may be, a key, as in the output of wg(8):
// messages go to logs and into bug reports.
const hidden = "(hidden)"

// show returns a value as messages may have it.
func show(key, value string) string {
	switch {
	case strings.Contains(strings.ToLower(key), "key") || hasSecret(value):
		return hidden
	case value == "":
		return `""`
	}
	return value
}

// showKey returns the name of a setting as messages may have it: a line may hold
// anything before its =.
func showKey(key string) string {
	if hasSecret(key) {
		return hidden
	}
	return key
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
