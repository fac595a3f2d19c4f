package lists

import (
	"bytes"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// dieLoading is set in a child that ends like one that the kernel kills, when the second list
// is loaded.
const dieLoading = "NAMEROUTE_TEST_DIE_LOADING"

func dyingLists(dir string) ([]gateway.List, Options, *bytes.Buffer) {
	log := &bytes.Buffer{}
	cfg := []gateway.List{{Name: "a", File: filepath.Join(dir, "a")}, {Name: "b", File: filepath.Join(dir, "b")}, {Name: "c", File: filepath.Join(dir, "c")}}
	state := filepath.Join(dir, "state")
	return cfg, Options{Cache: state, LastGood: state, Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

func TestLoadingDies(t *testing.T) {
	dir := os.Getenv(dieLoading)
	if dir == "" {
		t.Skip("only as a child")
	}
	cfg, o, _ := dyingLists(dir)
	l := &Library{options: o, loading: newLoading(o.Cache, o.Log)}
	if l.loading.begin(cfg[1].File) == nil {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// Guarantee 8: fails safe.
// A list that ends the process whenever it is loaded is left alone by the third process; the
// content that it had before stays, and the other lists are loaded. A changed file is tried
// again.
func TestDeadlyListIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	cfg, o, log := dyingLists(dir)
	for i, text := range []string{"a.example\n", "before.example\n", "c.example\n"} {
		aged(t, cfg[i].File, text)
	}
	_, errs := Open(cfg, o)
	wantErrors(t, errs)
	if _, err := os.Stat(filepath.Join(o.Cache, loadingName)); err == nil {
		t.Error("a list is said to be loading that was loaded")
	}
	write(t, cfg[1].File, "deadly.example\n")
	die := func() {
		t.Helper()
		child := exec.Command(os.Args[0], "-test.run", "^TestLoadingDies$")
		child.Env = append(os.Environ(), dieLoading+"="+dir)
		if out, err := child.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the child: %v, %s", err, out)
		}
	}
	die()
	die()
	for range 2 { // for all later ones too
		l, errs := Open(cfg, o)
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "list b: "+cfg[1].File+": the process ended 2 times while it was loaded") {
			t.Fatalf("errors %v", errs)
		}
		wantHeld(t, l, "before.example", "b")
		wantHeld(t, l, "deadly.example", "")
		wantHeld(t, l, "a.example", "a")
		wantHeld(t, l, "c.example", "c")
	}
	if n := strings.Count(log.String(), "ended while it loaded a list"); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
	write(t, cfg[1].File, "mended.example\n")
	l, errs := Open(cfg, o)
	wantErrors(t, errs)
	wantHeld(t, l, "mended.example", "b")

	// One death may be chance.
	write(t, cfg[1].File, "again.example\n")
	die()
	l, errs = Open(cfg, o)
	wantErrors(t, errs)
	wantHeld(t, l, "again.example", "b")
	if _, err := os.Stat(filepath.Join(o.Cache, loadingName)); err == nil {
		t.Error("the file is left")
	}
}

// A file that cannot be used says nothing, and one that cannot be written costs a message.
func TestLoadingFileIsDamaged(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"cut short": func(file string) error { return os.WriteFile(file, []byte(`{"now":"/x`), 0o600) },
		"directory": func(file string) error { return os.MkdirAll(filepath.Join(file, "sub"), 0o700) },
		"pipe":      func(file string) error { return syscall.Mkfifo(file, 0o600) },
		"no deaths": func(file string) error { return os.WriteFile(file, []byte(`{"now":"x"}`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg, o, _ := dyingLists(t.TempDir())
			for _, l := range cfg {
				write(t, l.File, "one.example\n")
			}
			if err := os.MkdirAll(o.Cache, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := spoil(filepath.Join(o.Cache, loadingName)); err != nil {
				t.Fatal(err)
			}
			l, errs := Open(cfg, o)
			wantErrors(t, errs)
			wantHeld(t, l, "one.example", "a b c")
		})
	}
}
