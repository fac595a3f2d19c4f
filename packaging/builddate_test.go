package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// buildWithMake builds the program by the Makefile.
func buildWithMake(t *testing.T, program string, env ...string) {
	t.Helper()
	run(t, exec.Command("make", "-C", "..", "build", "PROGRAM="+program), env...)
}

// buildWithDockerfile builds the program by the Dockerfile's own command. A container has
// no git history.
func buildWithDockerfile(t *testing.T, program string, env ...string) {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, command, found := strings.Cut(string(text), "\nRUN CGO_ENABLED=0")
	command, _, ends := strings.Cut(command, "\nRUN ")
	command = strings.Replace("CGO_ENABLED=0"+command, "-o /nameroute ", "-o "+program+" ", 1)
	if !found || !ends || !strings.Contains(command, program) {
		t.Fatal("the Dockerfile builds the program otherwise")
	}
	c := exec.Command("sh", "-ec", command)
	c.Dir = ".."
	run(t, c, append([]string{"VERSION=test", "TARGETOS=", "TARGETARCH="}, env...)...)
}

// run runs a build with these variables and, in place of the owner of the checkout,
// as the user that the test has.
func run(t *testing.T, c *exec.Cmd, env ...string) {
	t.Helper()
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "SUDO_") || strings.HasPrefix(v, "SOURCE_DATE_EPOCH=") || strings.HasPrefix(v, "MAKE")
	})
	c.Env = append(c.Env, env...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", c.Args, err, out)
	}
}

// A program whose clock is before its build knows that the clock is wrong. What ships is
// built without version control information, so the build has to say when it was.
func TestShippedProgramKnowsItsBuildDate(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program three times")
	}
	future := time.Date(2100, 3, 1, 12, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	for name, text := range map[string]string{"gateway.yaml": "lan: [lo]\n", "Corefile": ".:5353 {\n    upstream wan 192.0.2.53\n}\n"} {
		write(t, filepath.Join(dir, name), text)
	}
	for name, build := range map[string]func(*testing.T, string, ...string){"make": buildWithMake, "docker": buildWithDockerfile} {
		program := filepath.Join(dir, name)
		build(t, program, fmt.Sprint("SOURCE_DATE_EPOCH=", future.Unix()))
		if out := host(t, program, "version"); !strings.Contains(out, "built 2100-03-01") {
			t.Errorf("%s: `version` does not say when it was built:\n%s", name, out)
		}
		check := exec.Command(program, "check", "--config", filepath.Join(dir, "gateway.yaml"), "--corefile", filepath.Join(dir, "Corefile"), "--state", filepath.Join(dir, "state"), "--run-dir", filepath.Join(dir, "run"))
		out, _ := check.CombinedOutput() // its exit code is about this machine
		if !strings.Contains(string(out), "warning  the clock says ") || !strings.Contains(string(out), "2100-03-01") {
			t.Errorf("%s: `check` does not warn of a clock before the build:\n%s", name, out)
		}
	}
}

// Without SOURCE_DATE_EPOCH the date is that of the commit, or that of the build.
func TestBuildDateWithoutSourceDateEpoch(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	program := filepath.Join(t.TempDir(), "nameroute")
	buildWithMake(t, program)
	want := time.Now().UTC().Format(time.DateOnly)
	git := exec.Command("git", "log", "-1", "--date=format-local:%Y-%m-%d", "--format=%cd")
	git.Env = append(os.Environ(), "TZ=UTC")
	if at, err := git.Output(); err == nil {
		want = strings.TrimSpace(string(at))
	}
	if out := host(t, program, "version"); !strings.Contains(out, "built "+want) {
		t.Errorf("want built %s:\n%s", want, out)
	}
}
