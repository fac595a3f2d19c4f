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
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// installMissingLocked gives every list without content the copy that came with the
// package, and logs those for which there is none.
func (u *Updater) installMissingLocked() error {
	var empty []gateway.Source
	for _, s := range u.config.Sources {
		if _, err := os.Stat(u.store.content(s.List)); err != nil {
			empty = append(empty, s)
			continue
		}
		m, _ := readMeta(u.store.meta(s.List)) // loadMetaLocked reports the error
		publishMetrics(s.List, m)
	}
	if len(empty) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	unlock, err := u.store.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for _, s := range empty {
		m, err := u.loadMetaLocked(s)
		if err == nil && m.SHA256 == "" {
			m, err = u.installShippedLocked(s, m)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", s.List, err))
		}
		if m.SHA256 == "" {
			u.log.Info("list has no content yet, it is fetched for the first time", "list", s.List, "missing", string(s.Missing))
		}
		publishMetrics(s.List, m)
	}
	return errors.Join(errs...)
}

// installTimeout bounds how long a start without content waits for the lock of another
// process.
const installTimeout = 2 * time.Second

// installShippedLocked installs the shipped copy of a list, if there is one.
func (u *Updater) installShippedLocked(s gateway.Source, m meta) (meta, error) {
	in, err := statefile.Open(filepath.Join(u.options.Shipped, s.List))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	defer in.Close()
	incoming := u.store.incoming(s.List)
	if err := copyTo(incoming, in); err != nil {
		return m, errors.Join(err, removeIfExists(incoming))
	}
	r, err := checkContent(gateway.Source{List: s.List, Select: s.Select, MaxShrink: 100}, incoming, u.listLocked(s).Format, 0)
	if err != nil {
		return m, errors.Join(fmt.Errorf("shipped copy: %w", err), removeIfExists(incoming))
	}
	if err := u.store.install(s.List); err != nil {
		return m, err
	}
	if m.SHA256, err = sumFile(u.store.content(s.List)); err != nil {
		return m, err
	}
	m.Rules, m.Shipped = countEntries(r), true
	if info, err := in.Stat(); err == nil {
		m.Fetched = info.ModTime()
	}
	u.log.Warn("list uses the copy from the package until it is fetched", "list", s.List, "entries", m.Rules)
	return m, u.saveMeta(s, m)
}

func copyTo(file string, in io.Reader) error {
	out, err := statefile.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
