package status

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/output"
)

func blocksText(w io.Writer, d Doc) {
	t := output.NewTable("BLOCK", "LISTED", "CLIENTS", "ROUTE", ">QUERIES", ">CACHE HITS")
	for _, b := range d.Blocks {
		queries, hits := "-", "-"
		if b.Queries != nil {
			queries = fmt.Sprint(*b.Queries)
		}
		if b.Hits != nil {
			hits = fmt.Sprint(*b.Hits)
			if b.Queries != nil && *b.Queries > 0 {
				hits += fmt.Sprintf(" (%d%%)", min(100, *b.Hits*100 / *b.Queries))
			}
		}
		t.Add(strings.Join(b.Zones, " "), output.OrDash(b.View), output.OrDash(b.Clients), output.OrDash(strings.Join(b.Routes, " ")), queries, hits)
	}
	printSection(w, t)
	var reasons []string // why answers are not given again from memory
	for _, b := range d.Blocks {
		if b.Replay != "" && !slices.Contains(reasons, b.Replay) {
			reasons = append(reasons, b.Replay)
		}
	}
	for _, r := range reasons {
		output.Remark(w, "replay off", r)
	}
}
