package corecheck

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/lists"
)

// NewLists reads the lists that a Corefile names and that have no last good copy, and
// returns an error for each that cannot be used, at its place in gateway.yaml. Lists with
// a url are fetched later and are not read.
func NewLists(cfg *gateway.Config, t *corefile.Text, state string) error {
	f, err := t.Parse()
	if err != nil {
		return exit.With(exit.Corefile, err)
	}
	named := f.Lists()
	var errs []error
	for _, l := range cfg.Lists {
		if _, fetched := cfg.Source(l.Name); fetched || !slices.Contains(named, l.Name) || hasWorked(state, l.Name) {
			continue
		}
		if _, err := lists.CheckGently(l); err != nil {
			errs = append(errs, ListProblem(cfg, l, err))
		}
	}
	return exit.With(exit.List, errors.Join(errs...))
}

// ListProblem returns a list's error at its place in gateway.yaml.
func ListProblem(cfg *gateway.Config, l gateway.List, err error) error {
	key, want := ".file", "fix the file, or remove the list from the Corefile and from "+cfg.File
	_, fetched := cfg.Source(l.Name)
	switch {
	case lists.KnownFormat(l.Format) != nil:
		key, want = ".format", ""
	case fetched:
		key = ".url"
	case errors.Is(err, os.ErrNotExist):
		want = "create the file, or correct its name"
	}
	return config.ProblemAt(cfg, "lists."+l.Name+key, "", err.Error(), want)
}

// hasWorked reports whether there is a last good copy of a list.
func hasWorked(state, list string) bool {
	_, err := os.Stat(filepath.Join(state, "lists", list+".list"))
	return err == nil
}
