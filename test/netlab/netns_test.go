package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func udpAddr(a netip.Addr, port uint16) net.Addr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port))
}

func unmap(a net.Addr) netip.Addr { return a.(*net.UDPAddr).AddrPort().Addr().Unmap() }

// record is a TB that notes how a lab ends a test, for tests of failures.
type record struct {
	cleanups []func()
	fatal    string
}

func (r *record) Helper()             {}
func (r *record) Logf(string, ...any) {}
func (r *record) Cleanup(f func())    { r.cleanups = append(r.cleanups, f) }
func (r *record) Skipf(format string, args ...any) {
	r.Fatalf("skip: "+format, args...)
}
func (r *record) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	panic(r)
}

// run runs f as a test and returns what it failed with, "" if it did not.
func (r *record) run(f func()) string {
	catch := func(f func()) {
		defer func() {
			if e := recover(); e != nil && e != any(r) {
				panic(e)
			}
		}()
		f()
	}
	catch(f)
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		catch(r.cleanups[i])
	}
	return r.fatal
}

func TestNamespaceEndsItsProcesses(t *testing.T) {
	t.Parallel()
	Need(t, "ip", "sleep")
	var pids []int
	r := &record{}
	if fatal := r.run(func() {
		n := NewNamespace(r, "short")
		n.Start("sleep", "1000")
		// A child that its parent leaves behind.
		n.Start("sh", "-c", "sleep 1001 & exec sleep 1002")
		for len(pids) < 3 {
			time.Sleep(time.Millisecond)
			pids = n.Pids()
		}
	}); fatal != "" {
		t.Fatal(fatal)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

// alive reports whether a process is still there a second from now. One whose parent
// is gone is not waited for and may stay a zombie.
func alive(pid int) bool {
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return false
		}
	}
	return true
}

func TestDoStaysInside(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	n := NewNamespace(t, "inside")
	outside, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 50 {
		n.Do(func() {
			link, err := os.Readlink("/proc/thread-self/ns/net")
			if err != nil {
				t.Error(err)
			}
			seen[link] = true
		})
	}
	if len(seen) != 1 || seen[outside] {
		t.Errorf("Do ran in %v, outside is %s", seen, outside)
	}
	for range 2000 { // no thread may have been left in the namespace
		done := make(chan string)
		go func() {
			link, _ := os.Readlink("/proc/thread-self/ns/net")
			done <- link
		}()
		if link := <-done; link != outside {
			t.Fatalf("a goroutine runs in %s", link)
		}
	}
}

func TestOwnRun(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	a, b := NewNamespace(t, "a"), NewNamespace(t, "b")
	a.Sh("touch /run/mark")
	if _, err := b.Exec("test", "-e", "/run/mark"); err == nil {
		t.Error("/run of one namespace is seen in another")
	}
	if out := strings.Fields(a.Run("ls", "/sys/class/net")); len(out) == 0 || out[0] != "lo" {
		t.Errorf("/sys/class/net has %v, want lo", out)
	}
}

func TestStartedProgramIsNotInside(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	n := NewNamespace(t, "n")
	n.Sh("touch /run/mark")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Were it to take itself for the re-executed binary it would cover /run.
	n.Run(self, "-test.run=^TestNothing$")
	n.Run("test", "-e", "/run/mark")
}

func TestExecErrors(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	n := NewNamespace(t, "n")
	_, err := n.Exec("sh", "-c", "echo why >&2; exit 3")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 || !strings.Contains(err.Error(), "why") {
		t.Errorf("got %v, want exit status 3 and its text", err)
	}
	if _, err := n.Exec("/does/not/exist"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no such file", err)
	}
	for name, f := range map[string]func(*Namespace){
		"Run":    func(n *Namespace) { n.Run("false") },
		"IP":     func(n *Namespace) { n.IP("link set nothing up") },
		"NFT":    func(n *Namespace) { n.NFT("nonsense") },
		"Sysctl": func(n *Namespace) { n.Sysctl("net/nothing=1") },
		"Up":     func(n *Namespace) { n.Up("nothing") },
		"Tap":    func(n *Namespace) { NewTap(n, "nothing") },
		"Start":  func(n *Namespace) { n.Start("/does/not/exist") },
	} {
		r := &record{}
		if r.run(func() { f(NewNamespace(r, "n")) }) == "" {
			t.Errorf("%s: no failure", name)
		}
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	n := NewNamespace(t, "n")
	p := n.StartEnv([]string{"GREETING=hello"}, "sh", "-c", `trap "echo bye; exit 5" TERM; echo $GREETING; while :; do sleep 0.01; done`)
	p.WaitOutput("hello", time.Second)
	var exit *exec.ExitError
	if err := p.Stop(); !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(p.Output(), "bye") {
		t.Errorf("stopped with %v and wrote %q", err, p.Output())
	}
	q := n.Start("sleep", "1000")
	q.Kill()
	if !q.Ended() || unix.Kill(q.Pid, 0) == nil {
		t.Error("a killed process lives on")
	}
}

func TestSocketsFromAnyGoroutine(t *testing.T) {
	t.Parallel()
	Need(t, "ip")
	a, b := NewNamespace(t, "a"), NewNamespace(t, "b")
	Cable(a, "eth0", b, "eth0")
	a.IP("addr add 192.0.2.1/24 dev eth0")
	b.IP("addr add 192.0.2.2/24 dev eth0")
	l, err := a.Listen("tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			fmt.Fprint(c, c.RemoteAddr())
			c.Close()
		}
	}()
	c, err := b.Dial("tcp", "192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 100)
	k, err := c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:k]), "192.0.2.2:") {
		t.Errorf("server saw %q (%v)", buf[:k], err)
	}
}
