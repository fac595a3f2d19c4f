// Package hostfs reads the files of this machine, or in tests those below a directory.
package hostfs

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Root is the directory that is used as /; "" is the machine's own.
type Root string

// Read returns the text of a file, and false where it cannot be read.
func (r Root) Read(path string) (string, bool) {
	text, err := statefile.ReadFile(string(r) + path)
	return string(text), err == nil
}

// Exists reports whether a file exists.
func (r Root) Exists(path string) bool {
	_, err := os.Stat(string(r) + path)
	return err == nil
}

// Glob returns the files that match a pattern, without the root.
func (r Root) Glob(pattern string) []string {
	found, _ := filepath.Glob(string(r) + pattern) // the callers' patterns are well formed
	for i := range found {
		found[i] = strings.TrimPrefix(found[i], string(r))
	}
	return found
}

// Runs reports whether a process of a name is running. The kernel cuts names to 15 bytes.
func (r Root) Runs(process string) bool {
	for _, comm := range r.Glob("/proc/[0-9]*/comm") {
		if text, ok := r.Read(comm); ok && strings.TrimSpace(text) == process {
			return true
		}
	}
	return false
}
