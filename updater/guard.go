package updater

import (
	"fmt"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// refusal is the error of content that was fetched and must not be used.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

// countEntries returns the number of names and prefixes of a list.
func countEntries(r lists.Report) int { return r.Entries() + r.Prefixes }

// entryCount prints a number of entries.
func entryCount(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// checkContent reads content as the gateway will, and refuses what would do harm.
// before is the number of entries of the content in use, 0 where there is none to compare
// with.
func checkContent(s gateway.Source, file, format string, before int) (lists.Report, error) {
	r, err := lists.CheckGently(gateway.List{Name: s.List, File: selected(s, file), Format: format})
	if err != nil {
		return r, err
	}
	n := countEntries(r)
	switch {
	case n < s.MinEntries:
		return r, &refusal{fmt.Sprintf("it has %s, below min_entries %d", entryCount(n), s.MinEntries)}
	case n < before && (before-n)*100 > before*s.MaxShrink:
		return r, &refusal{fmt.Sprintf("it has %s where there were %d: it shrinks by %d%%, above max_shrink %d%%",
			entryCount(n), before, (before-n)*100/before, s.MaxShrink)}
	}
	return r, nil
}

// selected returns the path by which a list reads its part of a file.
func selected(s gateway.Source, file string) string {
	if s.Select == "" {
		return file
	}
	return file + ":" + s.Select
}
