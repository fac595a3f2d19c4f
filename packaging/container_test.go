package packaging

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// debian is the release whose container root the tests run in.
const debian = "bookworm"

// included is what the container has beyond the smallest Debian that boots.
const included = "systemd,systemd-sysv,dbus,udev,iproute2,iputils-ping,nftables,procps," +
	"ca-certificates,bind9-dnsutils,man-db,bash-completion,wireguard-tools,systemd-resolved"

// container is a Debian with a systemd of its own, in a network namespace of its own.
type container struct {
	t      *testing.T
	root   string
	leader string // process id of its systemd, seen from here
}

// newContainer makes a root that starts from a fresh Debian, which is kept in /var/tmp
// for the next time.
func newContainer(t *testing.T) *container {
	t.Helper()
	// One that was made with other packages is no base for these tests.
	sum := sha256.Sum256([]byte(included))
	base := filepath.Join("/var/tmp/nameroute-package-test", fmt.Sprintf("%s-%x", debian, sum[:4]))
	if _, err := os.Stat(base); err != nil {
		t.Logf("making a Debian in %s", base)
		host(t, "rm", "-rf", base+".new")
		host(t, "debootstrap", "--variant=minbase", "--include="+included, debian, base+".new", "http://deb.debian.org/debian")
		host(t, "mv", base+".new", base)
	}
	dir := t.TempDir()
	host(t, "mount", "-t", "tmpfs", "nameroute-package-test", dir)
	t.Cleanup(func() { host(t, "umount", dir) })
	c := &container{t: t, root: dir + "/root"}
	for _, sub := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	host(t, "mount", "-t", "overlay", "overlay", "-o", fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", base, dir, dir), c.root)
	t.Cleanup(func() { host(t, "umount", c.root) })
	return c
}

// host runs a command on this machine.
func host(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// boot starts the container's systemd and waits until it has come up.
func (c *container) boot() {
	c.t.Helper()
	var console bytes.Buffer
	nspawn := exec.Command("systemd-nspawn", "-D", c.root, "--register=no", "--keep-unit", "--private-network", "--console=pipe", "--boot")
	nspawn.Stdout, nspawn.Stderr = &console, &console
	if err := nspawn.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- nspawn.Wait() }()
	c.t.Cleanup(func() {
		nspawn.Process.Signal(syscall.SIGTERM) // powers it off
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			nspawn.Process.Kill()
			<-ended
		}
		c.leader = ""
	})
	children := fmt.Sprintf("/proc/%d/task/%[1]d/children", nspawn.Process.Pid)
	for range 300 {
		select {
		case err := <-ended:
			ended <- err
			c.t.Fatalf("the container does not boot: %v\n%s", err, console.String())
		case <-time.After(200 * time.Millisecond):
		}
		b, err := os.ReadFile(children)
		if err != nil || len(strings.Fields(string(b))) == 0 {
			continue
		}
		c.leader = strings.Fields(string(b))[0]
		if out, _ := c.try("systemctl is-system-running"); strings.HasPrefix(out, "running") || strings.HasPrefix(out, "degraded") {
			return
		}
	}
	c.t.Fatal("the container has not come up in a minute")
}

// try runs a script inside: of the booted container, or of its root alone.
func (c *container) try(script string) (string, error) {
	cmd := exec.Command("chroot", c.root, "/bin/sh", "-ec", script)
	if c.leader != "" {
		cmd = exec.Command("nsenter", "-t", c.leader, "-a", "/bin/sh", "-ec", script)
	}
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try that must work.
func (c *container) run(script string) string {
	c.t.Helper()
	out, err := c.try(script)
	if err != nil {
		journal, _ := c.try("journalctl --no-pager -n 40 -u 'nameroute*'")
		c.t.Fatalf("%s\n%v\n%s\n%s", script, err, out, journal)
	}
	return out
}

// want runs a script whose output must have each of the words.
func (c *container) want(script string, words ...string) string {
	c.t.Helper()
	out := c.run(script)
	for _, w := range words {
		if !strings.Contains(out, w) {
			c.t.Errorf("%s\nhas no %q:\n%s", script, w, out)
		}
	}
	return out
}

// refuses runs a script that must not work, and returns its output.
func (c *container) refuses(script string) string {
	c.t.Helper()
	out, err := c.try(script)
	if err == nil {
		c.t.Errorf("%s\nworks, and must not:\n%s", script, out)
	}
	return out
}

// soon waits until a script works.
func (c *container) soon(script string) {
	c.t.Helper()
	var out string
	var err error
	for range 100 {
		if out, err = c.try(script); err == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	journal, _ := c.try("journalctl --no-pager -n 40 -u 'nameroute*'")
	c.t.Fatalf("%s\nnot within 20 s: %v\n%s\n%s", script, err, out, journal)
}
