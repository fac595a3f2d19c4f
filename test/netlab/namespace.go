//go:build linux

package netlab

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Namespace is one machine of a lab: a network namespace and a mount namespace with
// its own /run and /sys, so that programs in it use their ordinary paths
// (/run/wireguard and the like) and labs run side by side. It has no name in the
// file system: it lives as long as its thread, and ends with the test. All methods
// may be called from any goroutine.
type Namespace struct {
	Name string // for messages only

	t        TB
	workDir  string
	net, mnt *os.File
	jobs     chan func() // run on the thread that lives in the namespace

	mu        sync.Mutex
	processes []*Process
}

// NewNamespace makes a machine without links but lo, which is up. It ends, and
// every process in it, at the cleanup of t.
func NewNamespace(t TB, name string) *Namespace {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatalf("netlab: %s: working directory: %v", name, err)
	}
	n := &Namespace{Name: name, t: t, workDir: wd, jobs: make(chan func())}
	made := make(chan error)
	go n.live(made)
	if err := <-made; err != nil {
		t.Fatalf("netlab: make namespace %s: %v", name, err)
	}
	t.Cleanup(n.close)
	return n
}

// live makes the namespace and stays in it. Processes are started from this
// thread, because the kernel sends their death signal when the thread that
// started them ends. It is never unlocked, so the runtime throws it away.
func (n *Namespace) live(made chan<- error) {
	runtime.LockOSThread()
	if err := n.unshare(); err != nil {
		made <- err
		return
	}
	made <- nil
	for job := range n.jobs {
		job()
	}
}

func (n *Namespace) unshare() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := prepare(); err != nil {
		return err
	}
	task := fmt.Sprintf("/proc/self/task/%d/ns/", unix.Gettid())
	var err error
	if n.net, err = os.Open(task + "net"); err != nil {
		return err
	}
	n.mnt, err = os.Open(task + "mnt")
	return err
}

// on runs f on the namespace's own thread and waits for it: for what is short and
// does not wait for the network.
func (n *Namespace) on(f func()) {
	done := make(chan struct{})
	n.jobs <- func() { defer close(done); f() }
	<-done
}

// Do runs f inside the namespace and returns when it has ended. f runs on a thread
// of its own that is thrown away, so that nothing else ever runs in the wrong
// namespace; goroutines that f starts run outside. A t.Fatal in f ends the test.
func (n *Namespace) Do(f func()) {
	left := true
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := n.enter()
		defer func() { done <- err }()
		if err == nil {
			f()
		}
		left = false
	}()
	if err := <-done; err != nil {
		n.t.Fatalf("netlab: enter namespace %s: %v", n.Name, err)
	}
	if left {
		runtime.Goexit()
	}
}

func (n *Namespace) enter() error {
	if err := unix.Setns(int(n.net.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	// A mount namespace can only be entered with a working directory and root of
	// one's own; entering sets both to /.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Setns(int(n.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
		return err
	}
	return unix.Chdir(n.workDir)
}

// close ends every process that lives in the namespace, also those that its
// processes started, and then the namespace.
func (n *Namespace) close() {
	n.mu.Lock()
	processes := n.processes
	n.mu.Unlock()
	for _, p := range processes {
		p.kill()
	}
	for _, p := range processes {
		<-p.done
	}
	if err := Poll(10*time.Second, n.killAll); err != nil {
		n.t.Logf("%v", err)
	}
	close(n.jobs)
	n.net.Close()
	n.mnt.Close()
}

// killAll kills every process that lives in the namespace. One of them may have started
// another in that moment, so it returns an error until none is left.
func (n *Namespace) killAll() error {
	pids := n.Pids()
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && err != unix.ESRCH {
			n.t.Logf("netlab: %s: kill %d: %v", n.Name, pid, err)
		}
	}
	return Check(len(pids) == 0, "netlab: %s: processes %v have not ended", n.Name, pids)
}
