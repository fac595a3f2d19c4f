package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/paths"
	"github.com/nameroute/nameroute/corefile/plugins"
)

const (
	validConfig   = "lan: [br-lan]\n"
	validCorefile = ". {\n    import more.conf\n    upstream wan 192.0.2.53\n}\n"
)

// userFiles are a gateway.yaml and a Corefile with an import, in a directory of their own.
type userFiles struct {
	t   *testing.T
	dir string
	loader
}

func newUserFiles(t *testing.T) *userFiles {
	t.Helper()
	if err := plugins.Register(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	u := &userFiles{t: t, dir: dir, loader: loader{resolver: true, Paths: paths.Paths{
		Config: filepath.Join(dir, "gateway.yaml"), Corefile: filepath.Join(dir, "Corefile"), State: filepath.Join(dir, "state"),
	}}}
	u.write("gateway.yaml", validConfig)
	u.write("Corefile", validCorefile)
	u.write("more.conf", "cache\n")
	return u
}

func (u *userFiles) write(name, text string) {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// Every change of what decides about the process changes the hash, and nothing else does.
func TestHash(t *testing.T) {
	u := newUserFiles(t)
	first := u.now().hash()
	if u.now().hash() != first {
		t.Error("two reads of the same files differ")
	}
	seen := map[digest]string{first: "the first files"}
	for _, change := range []struct{ file, text string }{
		{"gateway.yaml", validConfig + "# a comment\n"},
		{"Corefile", validCorefile + "# a comment\n"},
		{"more.conf", "cache 600\n"},
		{"more.conf", ""},
		{"gateway.yaml", ""},
	} {
		u.write(change.file, change.text)
		h := u.now().hash()
		if other := seen[h]; other != "" {
			t.Errorf("%s %q has the hash of %s", change.file, change.text, other)
		}
		seen[h] = change.file + " " + change.text
	}
	if err := os.Remove(filepath.Join(u.dir, "more.conf")); err != nil {
		t.Fatal(err)
	}
	if seen[u.now().hash()] != "" {
		t.Error("a missing import changes nothing")
	}
	u.resolver = false
	alone := u.now().hash()
	u.write("Corefile", "nonsense")
	if u.now().hash() != alone {
		t.Error("without a resolver the Corefile counts")
	}
}

func TestLastGood(t *testing.T) {
	u := newUserFiles(t)
	u.write("gateway.yaml", "lans: [br-lan]\n")
	if _, err := u.load(); exit.Code(err) != exit.Config {
		t.Fatalf("the first start with an invalid file: %v", err)
	}
	u.write("gateway.yaml", validConfig)
	f, err := u.load()
	if err != nil {
		t.Fatal(err)
	}
	if err := u.save(f); err != nil {
		t.Fatal(err)
	}
	u.write("more.conf", "cahce\n")
	f, err = u.load()
	if err != nil {
		t.Fatal(err)
	}
	if f.old == nil || !strings.Contains(f.old.Error(), "more.conf:1") {
		t.Errorf("the reason does not name the import: %v", f.old)
	}
	if !strings.Contains(string(f.corefile), "    cache\n") && !strings.Contains(string(f.corefile), "cache\n") {
		t.Errorf("the last good Corefile lacks what it imported:\n%s", f.corefile)
	}
	if f.read != u.now().hash() {
		t.Error("the invalid files would be read again and again: their hash is not recorded")
	}
	if err := u.save(f); err != nil {
		t.Error(err)
	}
	if _, err := u.lastGood(errors.New("reason")); err != nil {
		t.Errorf("saving a fallback damaged it: %v", err)
	}
}

// What is in the place of a last good file is set aside.
func TestSaveOverADirectory(t *testing.T) {
	u := newUserFiles(t)
	f, err := u.load()
	if err != nil {
		t.Fatal(err)
	}
	good := filepath.Join(u.goodDir(), "Corefile")
	if err := os.MkdirAll(good, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := u.save(f); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(good); err != nil || string(text) != string(f.corefile) {
		t.Errorf("saved %q, %v", text, err)
	}
	if info, err := os.Stat(good + ".bad"); err != nil || !info.IsDir() {
		t.Errorf("the directory is gone: %v", err)
	}
}

// Files with which a start was interrupted have not worked: they are not the last good ones.
func TestInterruptedStartSavesNothing(t *testing.T) {
	u := newUserFiles(t)
	p := newProcess(Options{Paths: u.Paths, Parts: []control.Part{control.Update}})
	f, err := p.loader.load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(p.start(ctx, f), p.group.stop()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.loader.goodDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("saved: %v", err)
	}
}
