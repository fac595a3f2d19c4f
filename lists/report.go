package lists

import (
	"fmt"
	"time"

	"github.com/nameroute/nameroute/lists/format"
)

// Report describes one list. Its Summary is of the content in use.
type Report struct {
	Name string
	File string
	format.Summary

	LoadedAt time.Time // when the content in use was read
	LastGood bool      // the content in use is not the file's, which is bad or missing
	Err      error     // why, or one that wraps ErrCopy; nil if all is well
}

// String returns the report on one line.
func (r Report) String() string {
	s := fmt.Sprintf("%s (%s): %d suffix, %d full, %d keyword, %d regexp, %d exceptions, %d prefixes; %d of %d lines skipped",
		r.Name, r.Format, r.Suffix, r.Full, r.Keyword, r.Regexp, r.Exceptions, r.Prefixes, r.Skipped, r.Lines)
	if r.LastGood {
		s += "; last good content"
	}
	return s
}
