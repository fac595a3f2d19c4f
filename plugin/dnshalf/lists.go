package dnshalf

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// ErrList is wrapped by the error of a start that a list stopped, and of a reload in
// which one was not taken up.
var ErrList = errors.New("list cannot be used")

// openLists loads the lists. What is wrong with one stops the start only where there
// is no last good copy to use instead; that none can be kept stops nothing.
func (h *Half) openLists(p *plan, state string) error {
	dir := filepath.Join(state, "lists")
	lib, _ := lists.Open(p.config.Lists, lists.Options{LastGood: dir, Cache: dir, Log: slog.Default()}) // the reports say the same
	h.lists = lib
	var errs []error
	for _, r := range lib.Reports() {
		_, fetched := p.config.Source(r.Name) // it comes when it comes; no start waits for it
		if bad(r.Err) && !r.LastGood && p.lists[r.Name] && !fetched {
			errs = append(errs, fmt.Errorf("%w: %w", ErrList, r.Err))
		}
	}
	h.report()
	return errors.Join(errs...)
}

// unexpected leaves out that a list with a url has not been fetched yet, and that of a
// list which is fine no copy can be kept.
func (h *Half) unexpected(cfg *gateway.Config, errs []error) []error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return !bad(err) })
	for _, r := range h.lists.Reports() {
		if _, fetched := cfg.Source(r.Name); fetched && errors.Is(r.Err, fs.ErrNotExist) {
			errs = slices.DeleteFunc(errs, func(err error) bool { return err == r.Err })
		}
	}
	return errs
}

// bad tells an error of a list from one that only says that no copy of it can be kept.
func bad(err error) bool { return err != nil && !errors.Is(err, lists.ErrCopy) }

// report says what the lists hold, where that has changed.
func (h *Half) report() {
	h.missing.look(h.Config(), h.lists)
	for _, r := range h.lists.Reports() {
		line := describe(r)
		if old, _ := h.said.Swap(r.Name, line); old == line {
			continue
		}
		if r.Err != nil {
			log.Errorf("%s", line)
			continue
		}
		log.Infof("%s", line)
	}
}

// describe is one line on a list, with the first line that meant nothing.
func describe(r lists.Report) string {
	if bad(r.Err) && !r.LastGood {
		return r.Err.Error()
	}
	s := fmt.Sprintf("list %s (%s): %d on it", r.Name, r.Format, r.Entries())
	if r.Prefixes > 0 {
		s += fmt.Sprintf(", and %d prefixes", r.Prefixes)
	}
	if r.Skipped > 0 && len(r.Samples) > 0 {
		s += fmt.Sprintf("; left out because they mean nothing: %d, first %v", r.Skipped, r.Samples[0])
	}
	switch {
	case bad(r.Err):
		s += fmt.Sprintf(", of the last good copy: %v", r.Err)
	case r.Err != nil:
		s += fmt.Sprintf("; a start could not fall back to it: %v", r.Err)
	}
	return s
}
