package daemon

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/corecheck"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// files are the user's two files as they are used, which may be their last good state.
type files struct {
	config     *gateway.Config
	configText []byte
	corefile   []byte         // with the files that it imports in their places
	text       *corefile.Text // knows where its lines come from
	certs      digest         // of the certificates that the Corefile names
	read       digest         // of the user's files when they were read
	old        error          // why the last good state is used; nil: the files as they are
}

// loader reads the user's two files.
type loader struct {
	paths.Paths
	resolver bool // it is a part of this process, so that the Corefile counts
}

// source is one text that decides what runs, as it was read.
type source struct {
	name string
	data []byte
	err  error
}

// rawFiles is what the files hold at one moment, valid or not.
type rawFiles struct {
	config   source
	corefile source         // as it is written
	expanded source         // with what it imports
	text     *corefile.Text // the same; nil with an error
	certs    digest         // of the certificates that it names
}

// digest is a hash of files' content.
type digest [sha256.Size]byte

// readRaw reads two files. Paths in them are relative to the user's files, of which
// these may be copies.
func (l loader) readRaw(config, core string) rawFiles {
	r := rawFiles{config: readSource(config, "gateway.yaml", "config")}
	if !l.resolver {
		return r
	}
	r.corefile = readSource(core, "Corefile", "corefile")
	if r.corefile.err != nil {
		return r
	}
	r.expanded.name = core
	if r.text, r.expanded.err = corefile.Expand(l.Corefile, r.corefile.data); r.expanded.err == nil {
		r.expanded.data = r.text.Body
		r.certs = readCertificates(r.text)
	}
	return r
}

// certificates returns the files with certificates and keys that a Corefile names.
func certificates(t *corefile.Text) []string {
	f, err := t.Parse()
	if err != nil {
		return nil // it is refused
	}
	return f.Certificates()
}

// readCertificates returns the digest of a Corefile's certificates. One that cannot be read is
// refused by *tls*.
func readCertificates(t *corefile.Text) digest {
	h := sha256.New()
	for _, name := range certificates(t) {
		data, err := statefile.ReadFile(name)
		sum := sha256.Sum256(data)
		h.Write(sum[:])
		fmt.Fprintln(h, err)
	}
	return digest(h.Sum(nil))
}

func readSource(name, what, flag string) source {
	data, err := statefile.ReadFile(name)
	if err != nil {
		return source{name: name, err: paths.ReadError(what, flag, name, err)}
	}
	return source{name: name, data: data}
}

// hash is equal for two reads that found the same.
func (r rawFiles) hash() digest {
	h := sha256.New()
	for _, s := range []source{r.config, r.corefile, r.expanded} {
		sum := sha256.Sum256(s.data)
		h.Write(sum[:])
		if s.err != nil {
			fmt.Fprintln(h, s.err)
		}
	}
	h.Write(r.certs[:])
	return digest(h.Sum(nil))
}

// consistent reports whether what the Corefile imports is still what was read.
func (r rawFiles) consistent() bool {
	return r.text == nil || r.text.Verify(r.corefile.data) == nil
}

// now reads the user's files once.
func (l loader) now() rawFiles { return l.readRaw(l.Config, l.Corefile) }

const (
	snapshotTries = 10
	snapshotPause = 20 * time.Millisecond
)

// snapshot reads the user's files as they are at one moment: until two reads in a row
// find the same. Of files that never stop changing it returns the last read.
func (l loader) snapshot() rawFiles {
	r := l.now()
	for range snapshotTries {
		again := l.now()
		if again.hash() == r.hash() && r.consistent() {
			break
		}
		r = again
		time.Sleep(snapshotPause)
	}
	return r
}

// parse checks what the files hold, and reports everything that is wrong with both.
func (l loader) parse(r rawFiles) (*files, error) {
	cfg, err := l.parseConfig(r.config)
	f := &files{config: cfg, configText: r.config.data, read: r.hash()}
	if l.resolver {
		f.corefile, f.text, f.certs = r.expanded.data, r.text, r.certs
		err = errors.Join(err, l.checkCorefile(r, cfg))
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// parseConfig parses gateway.yaml. A copy is parsed under the name of the original, which
// its paths are relative to.
func (l loader) parseConfig(s source) (*gateway.Config, error) {
	if s.err != nil {
		return nil, exit.With(exit.Config, s.err)
	}
	cfg, err := config.Parse(l.Config, s.data)
	if err != nil {
		return nil, exit.With(exit.Config, err)
	}
	return cfg.WithState(l.State), nil
}

// checkCorefile returns what is wrong with the Corefile and with the lists that it names.
// Without a valid gateway.yaml it cannot know what that has.
func (l loader) checkCorefile(r rawFiles, cfg *gateway.Config) error {
	err := errors.Join(r.corefile.err, r.expanded.err)
	if err == nil {
		err = r.text.Verify(r.corefile.data)
	}
	if err != nil {
		return exit.With(exit.Corefile, err)
	}
	err = exit.With(exit.Corefile, errors.Join(corecheck.Check(r.text, cfg)...))
	if _, parseErr := r.text.Parse(); parseErr == nil && cfg != nil {
		err = errors.Join(err, corecheck.NewLists(cfg, r.text, l.State))
	}
	return err
}

// load reads both files. Where one is wrong and an earlier start worked, it returns
// what worked then: both files together, because they name the same routes and lists.
func (l loader) load() (*files, error) {
	raw := l.snapshot()
	f, err := l.parse(raw)
	if err == nil {
		return f, nil
	}
	good, goodErr := l.lastGood(err)
	if goodErr != nil {
		return nil, err // the first start, or nothing that still works
	}
	good.read = raw.hash()
	return good, nil
}

// goodDir holds the two files as they were when they last worked.
func (l loader) goodDir() string { return filepath.Join(l.State, "good") }

func (l loader) goodFiles() (config, core string) {
	return filepath.Join(l.goodDir(), "gateway.yaml"), filepath.Join(l.goodDir(), "Corefile")
}

// lastGood returns the files that last worked, to be used for a reason.
func (l loader) lastGood(reason error) (*files, error) {
	f, err := l.parse(l.readRaw(l.goodFiles()))
	if err != nil {
		return nil, err
	}
	f.old = reason
	return f, nil
}

// save stores files that work as the last good state.
func (l loader) save(f *files) error {
	if f.old != nil {
		return nil
	}
	if err := os.MkdirAll(l.goodDir(), 0o700); err != nil {
		return fmt.Errorf("save the last good state: %w", err)
	}
	config, core := l.goodFiles()
	if err := errors.Join(saveFile(config, f.configText), saveFile(core, f.corefile)); err != nil {
		return fmt.Errorf("save the last good state: %w", err)
	}
	return nil
}

// saveFile replaces a file unless it holds that text already. A nil text is one that
// this process does not use.
func saveFile(name string, text []byte) error {
	if have, err := statefile.ReadFile(name); text == nil || err == nil && bytes.Equal(have, text) {
		return nil
	}
	return statefile.Replace(name, 0o600, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}
