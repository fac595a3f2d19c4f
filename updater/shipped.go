package updater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// prepare gives every list that has no content the copy that came with the package.
// It says of those for which there is none that they are empty. u.mu is held.
func (u *Updater) prepare() error {
	var empty []gateway.Source
	for _, s := range u.config.Sources {
		if _, err := os.Stat(u.store.content(s.List)); err != nil {
			empty = append(empty, s)
			continue
		}
		m, _ := readMeta(u.store.meta(s.List)) // one that cannot be read is told by load
		tell(s.List, m)
	}
	if len(empty) == 0 {
		return nil // nothing to wait for
	}
	ctx, cancel := context.WithTimeout(context.Background(), prepareLimit)
	defer cancel()
	unlock, err := u.store.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, s := range empty {
		m, err := u.load(s)
		if err == nil && m.SHA256 == "" {
			m, err = u.ship(s, m)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", s.List, err))
		}
		if m.SHA256 == "" {
			u.options.Log.Error("list has no content yet, its names are not routed", "list", s.List, "missing", string(s.Missing))
		}
		tell(s.List, m)
	}
	return errors.Join(errs...)
}

// prepareLimit bounds how long a start without content waits for another process that
// is at work on the lists.
const prepareLimit = 2 * time.Second

// ship takes the shipped copy of a list up, if there is one.
func (u *Updater) ship(s gateway.Source, m meta) (meta, error) {
	in, err := os.Open(filepath.Join(u.options.Shipped, s.List))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	defer in.Close()
	fresh := u.store.fresh(s.List)
	if err := copyTo(fresh, in); err != nil {
		return m, errors.Join(err, removeIfThere(fresh))
	}
	r, err := guard(gateway.Source{List: s.List, Select: s.Select, MaxShrink: 100}, fresh, u.list(s).Format, 0)
	if err != nil {
		return m, errors.Join(fmt.Errorf("the shipped copy: %w", err), removeIfThere(fresh))
	}
	if err := u.store.accept(s.List); err != nil {
		return m, err
	}
	if m.SHA256, err = sumFile(u.store.content(s.List)); err != nil {
		return m, err
	}
	m.Rules, m.Shipped = rules(r), true
	if info, err := in.Stat(); err == nil {
		m.Fetched = info.ModTime()
	}
	u.options.Log.Warn("list uses the copy from the package until it is fetched", "list", s.List, "rules", m.Rules)
	return m, u.save(s, m)
}

func copyTo(file string, in io.Reader) error {
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
