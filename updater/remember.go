package updater

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists"
)

// Rollback makes the version before the one in use the one in use. The version that
// was taken out is not taken again until its publisher changes it.
func (u *Updater) Rollback(ctx context.Context, list string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.takeUp()
	s, ok := u.config.Source(list)
	if !ok {
		return fmt.Errorf("list %q: %s has no list of this name with url", list, u.config.File)
	}
	unlock, err := u.store.lock(ctx)
	if err != nil {
		return fmt.Errorf("list %s: %w", list, err)
	}
	defer unlock()
	m, err := u.load(s)
	if err != nil {
		return fmt.Errorf("list %s: %w", list, err)
	}
	if err := u.store.rollback(list); err != nil {
		return fmt.Errorf("list %s: %w", list, err)
	}
	back, err := u.load(s)
	if err != nil {
		return fmt.Errorf("list %s: %w", list, err)
	}
	back.URL, back.ETag, back.LastModified = m.URL, m.ETag, m.LastModified
	back.Rejected, back.Checked = m.SHA256, m.Checked
	u.options.Log.Info("list rolled back", "list", list, "rules", back.Rules)
	return u.save(s, back)
}

// load reads what is remembered of a list and brings it in line with the content that
// is there: after a crash, or where somebody put a file of his own in place.
func (u *Updater) load(s gateway.Source) (meta, error) {
	m, err := readMeta(u.store.meta(s.List))
	if err != nil {
		u.options.Log.Warn("stored state of a list is unusable, fetching it again", "list", s.List, "error", err)
	}
	sum, err := sumFile(u.store.content(s.List))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return meta{Next: m.Next, Failures: m.Failures, Error: m.Error, Part: m.Part}, nil
	case err != nil:
		return m, err
	case sum == m.SHA256:
		return m, nil
	}
	m = meta{SHA256: sum, Next: m.Next, Failures: m.Failures, Error: m.Error, Rejected: m.Rejected, Part: m.Part}
	if info, err := os.Stat(u.store.content(s.List)); err == nil {
		m.Fetched = info.ModTime()
	}
	if r, err := lists.CheckGently(u.list(s)); err == nil {
		m.Rules = rules(r)
	}
	return m, nil
}

// list is the list as the gateway reads it.
func (u *Updater) list(s gateway.Source) gateway.List {
	l, _ := u.config.List(s.List)
	return l
}

// partKeeper remembers the part of a download while it is under way, and nothing else
// that is not remembered yet: the process may be killed at any time.
func (u *Updater) partKeeper(s gateway.Source, m meta) func(*part) error {
	return func(p *part) error {
		if p == nil && m.Part == nil {
			return nil
		}
		m.Part = p
		if err := m.write(u.store.meta(s.List)); err != nil {
			return fmt.Errorf("remember what was downloaded: %w", err)
		}
		return nil
	}
}

func (u *Updater) save(s gateway.Source, m meta) error {
	tell(s.List, m)
	if err := m.write(u.store.meta(s.List)); err != nil {
		return fmt.Errorf("list %s: remember what was fetched: %w", s.List, err)
	}
	return nil
}
