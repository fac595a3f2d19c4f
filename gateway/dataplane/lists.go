package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/prefixes"
	"github.com/nameroute/nameroute/gateway/policy"
	"github.com/nameroute/nameroute/gateway/provider"
	"github.com/nameroute/nameroute/lists"
	"github.com/nameroute/nameroute/lists/index"
)

// ErrList is wrapped by the errors of lists that cannot be used.
var ErrList = errors.New("list cannot be used")

// openLists reads the lists. What is wrong with one is in its report.
func (c *Controller) openLists() {
	dir := filepath.Join(c.opts.State, "lists")
	c.lists, c.listErrs = lists.Open(c.Config().Lists, lists.Options{LastGood: dir, Cache: dir, Log: c.opts.Log})
	c.reportLists()
}

// Index returns the compiled lists in force.
func (c *Controller) Index() *index.Index { return c.lists.Index() }

// Lists returns how each list was read.
func (c *Controller) Lists() []lists.Report { return c.lists.Reports() }

// checkLists finds lists without content that are new. One with a url comes when it
// comes: no start waits for it.
func (c *Controller) checkLists(names, old []string) error {
	cfg := c.Config()
	var errs []error
	for _, r := range c.lists.Reports() {
		_, fetched := cfg.Source(r.Name)
		if isBad(r.Err) && !r.LastGood && !fetched && slices.Contains(names, r.Name) && !slices.Contains(old, r.Name) {
			errs = append(errs, fmt.Errorf("%w: %w", ErrList, r.Err))
		}
	}
	return errors.Join(errs...)
}

// ListErrors returns which lists SetConfig could not read, wrapping ErrList; nil where it
// read all. A list that was not fetched yet is no error, and neither is one of which no
// copy can be kept.
func (c *Controller) ListErrors() error {
	c.settingMu.Lock()
	defer c.settingMu.Unlock()
	cfg := c.Config()
	errs := slices.DeleteFunc(slices.Clone(c.listErrs), func(err error) bool { return !isBad(err) })
	for _, r := range c.lists.Reports() {
		if notFetched(cfg, r) {
			errs = slices.DeleteFunc(errs, func(err error) bool { return err == r.Err })
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrList, err)
	}
	return nil
}

// notFetched reports whether a list with a url has no content yet.
func notFetched(cfg *gateway.Config, r lists.Report) bool {
	_, fetched := cfg.Source(r.Name)
	return fetched && errors.Is(r.Err, fs.ErrNotExist)
}

// isBad tells an error of a list from one that only says that no copy of it can be kept.
func isBad(err error) bool { return err != nil && !errors.Is(err, lists.ErrCopy) }

// reportLists logs what the lists hold, where that has changed.
func (c *Controller) reportLists() {
	cfg := c.Config()
	c.missing.update(cfg, c.lists)
	for _, r := range c.lists.Reports() {
		line := describe(r)
		if !r.LastGood && notFetched(cfg, r) {
			line, r.Err = "list "+r.Name+": not fetched yet", nil // the updater logs why
		}
		if changed, _ := c.edge.Set("list "+r.Name, line); !changed {
			continue
		}
		if r.Err != nil {
			c.log.Error(line)
			continue
		}
		c.log.Info(line)
	}
}

// describe returns one line on a list, with the first line of it that was skipped.
func describe(r lists.Report) string {
	if isBad(r.Err) && !r.LastGood {
		return r.Err.Error()
	}
	s := fmt.Sprintf("list %s (%s): %d entries", r.Name, r.Format, r.Entries())
	if r.Prefixes > 0 {
		s += fmt.Sprintf(", %d prefixes", r.Prefixes)
	}
	if r.Skipped > 0 && len(r.Samples) > 0 {
		s += fmt.Sprintf("; %d lines skipped as unparsable, the first: %v", r.Skipped, r.Samples[0])
	}
	switch {
	case isBad(r.Err):
		s += fmt.Sprintf("; %v", r.Err)
	case r.Err != nil:
		s += fmt.Sprintf("; the next start could not fall back to it: %v", r.Err)
	}
	return s
}

// prefixes returns what the route's lists of prefixes hold now, and what its tunnel's peers
// are allowed. A list that cannot be read has its last good content, so that no prefix loses
// its route by a bad file.
func (c *Controller) prefixes(r gateway.Route, conf *provider.Conf, seen policy.RouteState) []netip.Prefix {
	if len(r.Prefixes) == 1 && !r.AllowedIPs {
		return c.lists.Prefixes(r.Prefixes[0]) // no copy of what may be large
	}
	var all []netip.Prefix
	for _, list := range r.Prefixes {
		all = append(all, c.lists.Prefixes(list)...)
	}
	if r.AllowedIPs && conf != nil {
		for _, p := range conf.Peers {
			all = append(all, p.AllowedIPs...)
		}
	}
	if r.OnDown == gateway.FallBack && len(seen.Silent) > 0 {
		return prefixes.Without(all, seen.Silent) // the route's table refuses them
	}
	return all
}
