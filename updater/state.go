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

// Rollback returns a list to the version before the one in use. The version that was in
// use is not accepted again until its publisher changes it.
func (u *Updater) Rollback(ctx context.Context, list string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.useConfigLocked()
	s, ok := u.config.Source(list)
	if !ok {
		return fmt.Errorf("list %q: %s has no list of this name with url", list, u.config.File)
	}
	if err := u.rollbackLocked(ctx, s); err != nil {
		return fmt.Errorf("list %s: %w", list, err)
	}
	return nil
}

func (u *Updater) rollbackLocked(ctx context.Context, s gateway.Source) error {
	unlock, err := u.store.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := u.loadMetaLocked(s)
	if err != nil {
		return err
	}
	if err := u.store.rollback(s.List); err != nil {
		return err
	}
	back, err := u.loadMetaLocked(s)
	if err != nil {
		return err
	}
	back.URL, back.ETag, back.LastModified = m.URL, m.ETag, m.LastModified
	back.Rejected, back.Checked = m.SHA256, m.Checked
	u.log.Info("list rolled back", "list", s.List, "entries", back.Rules)
	return u.saveMeta(s, back)
}

// loadMetaLocked reads the metadata of a list and brings it in line with the content in
// place, which differs after a crash or where a user has put a file of their own there.
func (u *Updater) loadMetaLocked(s gateway.Source) (meta, error) {
	m, err := readMeta(u.store.meta(s.List))
	if err != nil {
		u.log.Warn("stored state of a list is unusable, fetching it again", "list", s.List, "error", err)
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
	if r, err := lists.CheckGently(u.listLocked(s)); err == nil {
		m.Rules = countEntries(r)
	}
	return m, nil
}

// listLocked returns the list as the gateway reads it.
func (u *Updater) listLocked(s gateway.Source) gateway.List {
	l, _ := u.config.List(s.List)
	return l
}

// partSaver returns a function that stores the progress of a download, and nothing else
// that is not stored yet: the process may be killed at any time.
func (u *Updater) partSaver(s gateway.Source, m meta) func(*part) error {
	return func(p *part) error {
		if p == nil && m.Part == nil {
			return nil
		}
		m.Part = p
		if err := m.write(u.store.meta(s.List)); err != nil {
			return fmt.Errorf("save progress of the download: %w", err)
		}
		return nil
	}
}

func (u *Updater) saveMeta(s gateway.Source, m meta) error {
	publishMetrics(s.List, m)
	if err := m.write(u.store.meta(s.List)); err != nil {
		return fmt.Errorf("save metadata: %w", err)
	}
	return nil
}
