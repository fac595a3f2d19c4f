package updater

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// refusal is why content that came whole is not used.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

// rules counts what a report's list holds.
func rules(r lists.Report) int { return r.Entries() + r.Prefixes }

// guard reads content as the gateway will and refuses what would do harm. before is
// the number of rules of the content in use, 0 where there is none to compare with.
func guard(s gateway.Source, file, format string, before int) (lists.Report, error) {
	if web, err := isPage(file); err != nil || web {
		if err == nil {
			err = &refusal{"it is a web page, not a list"}
		}
		return lists.Report{}, err
	}
	r, err := lists.CheckGently(gateway.List{Name: s.List, File: selected(s, file), Format: format})
	if err != nil {
		return r, err
	}
	n := rules(r)
	switch {
	case n < s.MinRules:
		return r, &refusal{fmt.Sprintf("it has %d rules, below min_rules %d", n, s.MinRules)}
	case n < before && (before-n)*100 > before*s.MaxShrink:
		return r, &refusal{fmt.Sprintf("it has %d rules where %d were before: it shrinks by %d%%, above max_shrink %d%%",
			n, before, (before-n)*100/before, s.MaxShrink)}
	}
	return r, nil
}

// selected is how a list reads its part of a file.
func selected(s gateway.Source, file string) string {
	if s.Select == "" {
		return file
	}
	return file + ":" + s.Select
}

// isPage recognises HTML, which hotel networks and broken mirrors send for anything.
func isPage(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head[:n], []byte("\ufeff"))))
	return bytes.HasPrefix(text, []byte("<!doctype html")) || bytes.HasPrefix(text, []byte("<html")), nil
}
