package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
)

// files are the user's two files as they are used, which may be an older, good
// state of them.
type files struct {
	config     *gateway.Config
	configText []byte
	corefile   []byte         // with the files that it imports in their places
	text       *corefile.Text // knows where its lines come from
	seen       digest         // of what lay there
	old        error          // why the last good state is used; nil: the files as they lie there
}

// goodDir holds the two files as they were when they last worked.
func (o Options) goodDir() string { return filepath.Join(o.State, "good") }

// load reads both files. Where one is wrong and an earlier start worked, it returns
// what worked then, both files together because they name the same routes and lists.
func (o Options) load(parts []control.Part) (*files, error) {
	lying := o.snapshot(parts)
	f, err := o.read(lying)
	if err == nil {
		return f, nil
	}
	good, goodErr := o.loadGood(parts, err)
	if goodErr != nil {
		return nil, err // the first start, or nothing that still works
	}
	good.seen = lying.sum()
	return good, nil
}

// loadGood returns the files that last worked, to be used because of why.
func (o Options) loadGood(parts []control.Part, why error) (*files, error) {
	f, err := o.read(o.lie(filepath.Join(o.goodDir(), "gateway.yaml"), filepath.Join(o.goodDir(), "Corefile"), parts))
	if err != nil {
		return nil, err
	}
	f.old = why
	return f, nil
}

// digest is a sum of files' content.
type digest [sha256.Size]byte

// lying is what the two files hold at one moment, right or wrong.
type lying struct {
	dns      bool // the Corefile counts
	config   []byte
	corefile []byte         // as it is written
	text     *corefile.Text // with what it imports
	errs     [3]error       // of the config, the Corefile, its imports
}

// lie reads the two files. Paths in them are relative to the user's files, of which
// these may be copies.
func (o Options) lie(config, core string, parts []control.Part) lying {
	l := lying{dns: slices.Contains(parts, control.DNS)}
	if l.config, l.errs[0] = os.ReadFile(config); l.errs[0] != nil {
		l.errs[0] = paths.ReadError("gateway.yaml", "config", config, l.errs[0])
	}
	if !l.dns {
		return l
	}
	if l.corefile, l.errs[1] = os.ReadFile(core); l.errs[1] != nil {
		l.errs[1] = paths.ReadError("Corefile", "corefile", core, l.errs[1])
		return l
	}
	l.text, l.errs[2] = corefile.Expand(o.Corefile, l.corefile)
	return l
}

// sum tells whether two looks saw the same.
func (l lying) sum() digest {
	h := sha256.New()
	parts := [][]byte{l.config, l.corefile}
	if l.text != nil {
		parts = append(parts, l.text.Body)
	}
	for _, part := range parts {
		one := sha256.Sum256(part)
		h.Write(one[:])
	}
	for _, err := range l.errs {
		if err != nil {
			fmt.Fprintln(h, err)
		}
	}
	return digest(h.Sum(nil))
}

const (
	snapshotTries = 10
	snapshotPause = 20 * time.Millisecond
)

// snapshot reads the user's files as they are at one moment: until two looks in a row
// see the same. Files that never rest are taken as the last look saw them.
func (o Options) snapshot(parts []control.Part) lying {
	l := o.lie(o.Config, o.Corefile, parts)
	for range snapshotTries {
		again := o.lie(o.Config, o.Corefile, parts)
		if again.sum() == l.sum() && (l.text == nil || l.text.Verify(l.corefile) == nil) {
			break
		}
		l = again
		time.Sleep(snapshotPause)
	}
	return l
}

// read checks what the two files hold, and reports what is wrong with both.
func (o Options) read(l lying) (*files, error) {
	if l.errs[0] != nil {
		return nil, exit.With(exit.Config, l.errs[0])
	}
	f := &files{configText: l.config, seen: l.sum()}
	// A copy is parsed under the name of the original, which its paths are relative to.
	var err error
	if f.config, err = config.Parse(o.Config, f.configText); err != nil {
		err = exit.With(exit.Config, err)
	} else {
		f.config = f.config.WithState(o.State)
	}
	if !l.dns {
		return f, err
	}
	if coreErr := errors.Join(l.errs[1], l.errs[2]); coreErr != nil {
		return nil, errors.Join(err, exit.With(exit.Corefile, coreErr))
	}
	if err != nil {
		return nil, err // the Corefile can only be checked against a gateway.yaml that is right
	}
	if err := l.text.Verify(l.corefile); err != nil {
		return nil, exit.With(exit.Corefile, err)
	}
	f.corefile, f.text = l.text.Body, l.text
	if problems := corecheck.Check(f.text, f.config); len(problems) > 0 {
		return nil, exit.With(exit.Corefile, errors.Join(problems...))
	}
	if err := corecheck.NewLists(f.config, f.text, o.State); err != nil {
		return nil, err
	}
	return f, nil
}

// keep stores the two files as the last good state.
func (f *files) keep(o Options) error {
	if f.old != nil {
		return nil
	}
	if err := os.MkdirAll(o.goodDir(), 0o700); err != nil {
		return fmt.Errorf("keep the last good state: %w", err)
	}
	var errs []error
	for name, text := range map[string][]byte{"gateway.yaml": f.configText, "Corefile": f.corefile} {
		to := filepath.Join(o.goodDir(), name)
		if have, err := os.ReadFile(to); text == nil || err == nil && bytes.Equal(have, text) {
			continue
		}
		if info, err := os.Lstat(to); err == nil && !info.Mode().IsRegular() {
			errs = append(errs, os.Rename(to, to+".bad")) // nothing can be put in its place
		}
		errs = append(errs, renameio.WriteFile(to, text, 0o600))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("keep the last good state: %w", err)
	}
	return nil
}
