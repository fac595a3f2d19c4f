package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/coredns/caddy"
	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/gateway"
)

// files are the user's two files as they are used, which may be an older, good
// state of them.
type files struct {
	config     *gateway.Config
	configText []byte
	corefile   []byte
	old        error // why the last good state is used; nil: the files as they lie there
}

// goodDir holds the two files as they were when they last worked.
func (o *options) goodDir() string { return filepath.Join(o.state, "good") }

// load reads both files. Where one is wrong and an earlier start worked, it returns
// what worked then, both files together because they name the same routes and lists.
func (o *options) load(parts []part) (*files, error) {
	f, err := o.read(o.config, o.corefile, parts)
	if err == nil {
		return f, nil
	}
	good, goodErr := o.loadGood(parts, err)
	if goodErr != nil {
		return nil, err // the first start, or nothing that still works
	}
	return good, nil
}

// loadGood returns the files that last worked, to be used because of why.
func (o *options) loadGood(parts []part, why error) (*files, error) {
	f, err := o.read(filepath.Join(o.goodDir(), "gateway.yaml"), filepath.Join(o.goodDir(), "Corefile"), parts)
	if err != nil {
		return nil, err
	}
	f.old = why
	return f, nil
}

// read reads and checks the two files, and reports what is wrong with both.
func (o *options) read(config, corefile string, parts []part) (*files, error) {
	f := &files{}
	var err error
	if f.configText, err = os.ReadFile(config); err != nil {
		return nil, withCode(exitConfig, readError("gateway.yaml", "config", config, err))
	}
	// A copy is parsed under the name of the original, which its paths are relative to.
	if f.config, err = gateway.Parse(o.config, f.configText); err != nil {
		err = withCode(exitConfig, err)
	} else {
		f.config = f.config.WithState(o.state)
	}
	if !slices.Contains(parts, partDNS) {
		return f, err
	}
	var coreErr error
	if f.corefile, coreErr = os.ReadFile(corefile); coreErr != nil {
		return nil, errors.Join(err, withCode(exitCorefile, readError("Corefile", "corefile", corefile, coreErr)))
	}
	if err != nil {
		return nil, err // the Corefile can only be checked against a gateway.yaml that is right
	}
	if problems := checkCorefile(o.input(f.corefile), f.config); len(problems) > 0 {
		return nil, withCode(exitCorefile, errors.Join(problems...))
	}
	if err := o.checkNewLists(f.config, o.input(f.corefile)); err != nil {
		return nil, err
	}
	return f, nil
}

// gateway reads gateway.yaml alone.
func (o *options) gateway() (*gateway.Config, error) {
	cfg, err := gateway.Load(o.config)
	if errors.Is(err, fs.ErrNotExist) {
		err = readError("gateway.yaml", "config", o.config, err)
	}
	if err != nil {
		return nil, withCode(exitConfig, err)
	}
	return cfg.WithState(o.state), nil
}

func readError(what, flag, file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no %s: `nameroute init` writes one; or say where it is with --%s", file, what, flag)
	}
	return fmt.Errorf("read %s: %w", what, err)
}

// keep stores the two files as the last good state.
func (f *files) keep(o *options) error {
	if f.old != nil {
		return nil
	}
	if err := os.MkdirAll(o.goodDir(), 0o700); err != nil {
		return fmt.Errorf("keep the last good state: %w", err)
	}
	var errs []error
	for name, text := range map[string][]byte{"gateway.yaml": f.configText, "Corefile": f.corefile} {
		if text != nil {
			errs = append(errs, renameio.WriteFile(filepath.Join(o.goodDir(), name), text, 0o600))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep the last good state: %w", err)
	}
	return nil
}

// input is a Corefile as caddy takes it, under the name of the user's file.
func (o *options) input(text []byte) caddy.Input {
	return caddy.CaddyfileInput{Contents: text, Filepath: o.corefile, ServerTypeName: "dns"}
}
