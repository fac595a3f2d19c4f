// Package packaging holds what puts nameroute on a machine, and its tests: units,
// install script, Debian package, compose file. `make package-test` runs the long ones.
package packaging

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// copyTree is the part of the repository that the install script reads, with stand-ins
// for what `make` builds.
func copyTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"bin/nameroute", "bin/man/nameroute.8", "bin/man/nameroute-run.8", "bin/man/gateway.yaml.5", "bin/man/nameroute-listed.7", "bin/completion/bash", "bin/completion/zsh", "bin/completion/fish"} {
		write(t, filepath.Join(dir, name), name)
	}
	for _, from := range []string{"packaging", "docs", "plugin", "README.md", "LICENSE"} {
		out, err := exec.Command("cp", "-a", filepath.Join("..", from), dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// found lists the files below a folder.
func found(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, strings.TrimPrefix(p, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestInstall(t *testing.T) {
	tree, root := copyTree(t), t.TempDir()
	write(t, root+"/etc/nameroute/gateway.yaml", "the operator's own")
	for _, what := range []string{"install", "install", "uninstall"} {
		out, err := exec.Command("sh", tree+"/packaging/install", what, root, "/usr/local").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", what, err, out)
		}
		if own, err := os.ReadFile(root + "/etc/nameroute/gateway.yaml"); err != nil || string(own) != "the operator's own" {
			t.Fatalf("%s: the operator's file is %q, %v", what, own, err)
		}
		if what == "uninstall" {
			break
		}
		all := found(t, root)
		for _, want := range []string{
			"/usr/local/sbin/nameroute", "/usr/local/lib/systemd/system/nameroute.service",
			"/usr/local/lib/systemd/system/nameroute-early.service", "/usr/local/lib/nameroute/early.nft",
			"/usr/local/lib/sysusers.d/nameroute.conf", "/usr/local/share/man/man8/nameroute-run.8.gz",
			"/usr/local/share/man/man5/gateway.yaml.5.gz", "/usr/local/share/man/man7/nameroute-listed.7.gz",
			"/usr/local/share/doc/nameroute/docs/gateway.yaml.md", "/usr/local/share/doc/nameroute/docs/scenarios/house.md", "/usr/local/share/doc/nameroute/plugin/listed/README.md",
			"/usr/local/share/bash-completion/completions/nameroute", "/usr/local/share/zsh/site-functions/_nameroute",
			"/usr/local/share/fish/vendor_completions.d/nameroute.fish", "/usr/local/share/doc/nameroute/examples/Corefile",
		} {
			if !slices.Contains(all, want) {
				t.Errorf("there is no %s", want)
			}
		}
		wantLinks(t, root+"/usr/local/share/doc/nameroute")
		for _, name := range append(helpers, services...) {
			text, err := os.ReadFile(root + "/usr/local/lib/systemd/system/" + name + ".service")
			if err != nil || strings.Contains(string(text), "/usr/sbin/nameroute") || strings.Contains(string(text), "/usr/lib/nameroute") {
				t.Errorf("%s names a place where nothing was installed (%v)", name, err)
			}
		}
	}
	if left := found(t, root); !slices.Equal(left, []string{"/etc/nameroute/gateway.yaml"}) {
		t.Errorf("uninstall left %q", left)
	}
}

var pageLink = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// wantLinks wants every link of the installed pages to lead to an installed file.
func wantLinks(t *testing.T, dir string) {
	t.Helper()
	seen := 0
	for _, page := range found(t, dir) {
		if filepath.Ext(page) != ".md" {
			continue
		}
		text, err := os.ReadFile(dir + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pageLink.FindAllStringSubmatch(string(text), -1) {
			seen++
			if _, err := os.Stat(filepath.Join(filepath.Dir(dir+page), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not installed", page, m[1])
			}
		}
	}
	if seen == 0 {
		t.Error("the installed pages have no links")
	}
}

func TestMaintainerScriptsParse(t *testing.T) {
	for _, s := range []string{"install", "debian/postinst", "debian/prerm", "debian/postrm"} {
		if out, err := exec.Command("sh", "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", s, err, out)
		}
	}
}

// An upgrade or an aborted one must stop, keep and remove nothing in these two.
func TestUpgradeTouchesNothing(t *testing.T) {
	for _, c := range [][]string{
		{"debian/prerm", "upgrade", "2"}, {"debian/prerm", "failed-upgrade", "1"}, {"debian/postinst", "abort-upgrade", "1"},
	} {
		cmd := exec.Command("sh", c...)
		cmd.Env = []string{"PATH=/nowhere"} // whatever it called would fail
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%q: %v: %s", c, err, out)
		}
	}
}

func TestCompose(t *testing.T) {
	type service struct {
		Image, Restart string
		Network        string   `yaml:"network_mode"`
		Drop           []string `yaml:"cap_drop"`
		Add            []string `yaml:"cap_add"`
		ReadOnly       bool     `yaml:"read_only"`
		Security       []string `yaml:"security_opt"`
		Command        []string
		Privileged     bool
		Devices, Tmpfs []string
		Volumes        []string
		After          []string `yaml:"depends_on"`
		Memory         string   `yaml:"mem_limit"`
	}
	var file struct {
		Services map[string]service
		Volumes  map[string]any
	}
	text, err := os.Open("compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	d := yaml.NewDecoder(text)
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	for name, caps := range map[string][]string{"dns": {"NET_ADMIN", "NET_BIND_SERVICE"}, "gateway": {"NET_ADMIN", "NET_RAW"}} {
		s := file.Services[name]
		if !slices.Equal(s.Command, []string{name}) || s.Network != "host" || s.Privileged || !s.ReadOnly ||
			!slices.Equal(s.Drop, []string{"ALL"}) || !slices.Equal(s.Add, caps) {
			t.Errorf("%s: %+v", name, s)
		}
		for _, want := range []string{"run:/run/nameroute", "state:/var/lib/nameroute"} {
			if !slices.Contains(s.Volumes, want) {
				t.Errorf("%s does not share %s with the other half", name, want)
			}
		}
	}
	if s := file.Services["hold"]; !slices.Equal(s.Command, []string{"hold"}) || s.Network != "host" || s.Privileged ||
		!slices.Equal(s.Drop, []string{"ALL"}) || len(s.Add) > 0 || len(s.Volumes) > 0 {
		t.Errorf("hold: %+v", s)
	}
	if s := file.Services["dns"]; len(s.Devices) > 0 || !slices.Equal(s.Security, []string{"no-new-privileges"}) {
		t.Errorf("what clients reach may do more than it needs: %+v", s)
	}
}
