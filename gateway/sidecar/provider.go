package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/wg"
)

// provider is a route's WireGuard file: as it was read last, and the last good one.
type provider struct {
	file  string
	hooks bool   // hook commands are ignored
	copy  string // where the last good one is kept
	stamp stamp
	read  bool
	conf  *wg.Conf // the last good one; nil: none
	data  []byte   // its text, while it is to be kept
	bad   error    // why the file is not in use; nil: it is
}

// stamp tells whether a file was changed, without reading it. nil: it is not there.
type stamp struct{ os.FileInfo }

func (s stamp) same(o stamp) bool {
	if s.FileInfo == nil || o.FileInfo == nil {
		return s.FileInfo == o.FileInfo
	}
	return os.SameFile(s.FileInfo, o.FileInfo) && s.Size() == o.Size() && s.ModTime().Equal(o.ModTime())
}

func newProvider(r gateway.Route, state string) provider {
	// The path is part of the name: a route that is given another file must not go
	// on with a copy of the old one.
	name := fmt.Sprintf("%s-%08x.conf", r.Name, crc32.ChecksumIEEE([]byte(r.Egress.File)))
	return provider{file: r.Egress.File, hooks: r.Hooks, copy: filepath.Join(providers(state), name)}
}

func providers(state string) string { return filepath.Join(state, "wireguard") }

// look reads the file if it has changed, and reports whether it has.
func (p *provider) look() bool {
	var now stamp
	if info, err := os.Stat(p.file); err == nil {
		now = stamp{info}
	}
	if p.read && now.same(p.stamp) {
		return false
	}
	p.stamp, p.read = now, true
	conf, data, err := p.load(p.file)
	if err == nil {
		p.conf, p.data, p.bad = conf, data, nil
		return true
	}
	p.bad = err
	if p.conf == nil {
		p.conf = p.lastGood()
	}
	return true
}

// load reads and checks a file under the name of the user's.
func (p *provider) load(path string) (*wg.Conf, []byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: not there: want the provider's WireGuard file", path)
	}
	if err != nil {
		return nil, nil, err
	}
	conf, err := wg.ParseConf(p.file, data)
	if err != nil {
		return nil, nil, err
	}
	return conf, data, conf.CheckHooks(p.hooks)
}

// lastGood is the copy of an earlier run, if there is one that is still good.
func (p *provider) lastGood() *wg.Conf {
	conf, _, err := p.load(p.copy)
	if err != nil {
		return nil // there was no good one; why the file itself is bad is reported
	}
	return conf
}

// keep stores the file that was found good. The copy holds keys: it is the owner's only.
func (p *provider) keep() error {
	data := p.data
	p.data = nil
	if old, err := os.ReadFile(p.copy); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(p.copy), 0o700); err != nil {
		return fmt.Errorf("keep the last good provider file: %w", err)
	}
	if err := renameio.WriteFile(p.copy, data, 0o600); err != nil {
		return fmt.Errorf("keep the last good provider file: %w", err)
	}
	return nil
}

// problem is why the file is not in use, on one line; "" if it is.
func (p *provider) problem() string {
	if p.bad == nil {
		return ""
	}
	return strings.ReplaceAll(p.bad.Error(), "\n", "; ")
}

// forgetProviders deletes the copies of routes that are not wanted.
func (c *Controller) forgetProviders(wanted func(gateway.Route) bool) error {
	keep := map[string]bool{}
	for _, r := range c.config().Routes {
		if r.Egress.Kind == gateway.EgressWireGuard && wanted(r) {
			keep[filepath.Base(newProvider(r, c.opts.State).copy)] = true
		}
	}
	dir := providers(c.opts.State)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("forget provider files: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !keep[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if len(keep) == 0 {
		errs = append(errs, os.Remove(dir))
	}
	return errors.Join(errs...)
}
