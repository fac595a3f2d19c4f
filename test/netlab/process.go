//go:build linux

package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// execLimit bounds a command that is run to its end: a hung tool must fail its test
// and not the whole run.
const execLimit = 2 * time.Minute

// Exec runs a command in the namespace to its end and returns what it wrote to
// stdout and stderr. The error has that text too, and the exit code (as
// *exec.ExitError). A command still running after two minutes is killed.
func (n *Namespace) Exec(args ...string) (string, error) { return n.ExecInput("", args...) }

// ExecInput is Exec with text for stdin.
func (n *Namespace) ExecInput(input string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), execLimit)
	defer cancel()
	cmd := n.command(ctx, args)
	cmd.WaitDelay = 30 * time.Second // a busy machine is late to read what was written
	cmd.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var err error
	n.on(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w: %s", n.Name, strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return out.String(), err
}

// Run is Exec for commands that must succeed: if one does not the test ends.
func (n *Namespace) Run(args ...string) string {
	n.t.Helper()
	out, err := n.Exec(args...)
	if err != nil {
		n.t.Fatalf("netlab: %v", err)
	}
	return out
}

// Sh runs a shell script in the namespace that stops at its first failing command;
// if it fails the test ends.
func (n *Namespace) Sh(script string) string {
	n.t.Helper()
	return n.Run("sh", "-e", "-c", script)
}

func (n *Namespace) command(ctx context.Context, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = n.workDir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // nothing outlives a test binary that is killed
		Setpgid:   true,            // Ctrl-C at the terminal is for us alone
	}
	cmd.WaitDelay = time.Second
	return cmd
}

// Process is a program that runs in a namespace until it ends, is stopped, or its
// test is over. All methods may be called from any goroutine.
type Process struct {
	Pid int

	t    TB
	n    *Namespace
	name string
	proc *os.Process
	out  output
	done chan struct{}
	err  error // how it ended; read after done
}

// Start starts a program in the namespace and captures its output.
func (n *Namespace) Start(args ...string) *Process { n.t.Helper(); return n.StartEnv(nil, args...) }

// StartEnv is Start with env ("KEY=value") added to the environment.
func (n *Namespace) StartEnv(env []string, args ...string) *Process {
	n.t.Helper()
	cmd := n.command(context.Background(), args)
	cmd.Env = append(os.Environ(), env...)
	p := &Process{t: n.t, n: n, name: n.Name + ": " + filepath.Base(args[0]), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	var err error
	n.on(func() { err = cmd.Start() })
	if err != nil {
		n.t.Fatalf("netlab: %s: start: %v", p.name, err)
	}
	p.Pid, p.proc = cmd.Process.Pid, cmd.Process
	n.mu.Lock()
	n.processes = append(n.processes, p)
	n.mu.Unlock()
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p
}

// Output is what the program has written so far, stdout and stderr together.
func (p *Process) Output() string { return p.out.String() }

// Signal sends a signal to the program alone.
func (p *Process) Signal(sig unix.Signal) {
	p.t.Helper()
	if p.Ended() {
		p.t.Fatalf("netlab: %s: signal %v: it has ended (%v):\n%s", p.name, sig, p.err, p.Output())
	}
	if err := p.proc.Signal(sig); err != nil {
		p.t.Fatalf("netlab: %s: signal %v: %v", p.name, sig, err)
	}
}

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the program's end and returns how it ended (nil or
// *exec.ExitError); if it still runs after limit, or 30 s, the test ends.
func (p *Process) Wait(limit time.Duration) error {
	p.t.Helper()
	limit = max(limit, patience) * Slack()
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		p.t.Fatalf("netlab: %s: still runs after %v:\n%s", p.name, limit, p.Output())
		return nil
	}
}

// Stop sends SIGTERM and returns how the program ended; it has 30 s for it.
func (p *Process) Stop() error {
	p.t.Helper()
	p.Signal(unix.SIGTERM)
	return p.Wait(patience)
}

// Kill ends the program by SIGKILL, as a crash does, and waits until it is gone.
func (p *Process) Kill() {
	p.t.Helper()
	p.kill()
	<-p.done
}

func (p *Process) kill() {
	if err := p.proc.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Logf("netlab: %s: kill: %v", p.name, err)
	}
}

// WaitOutput waits until the program has written text; if that does not happen
// within limit, as of Eventually, or the program ends first, the test ends.
func (p *Process) WaitOutput(text string, limit time.Duration) {
	p.t.Helper()
	Eventually(p.t, limit, func() error {
		ended := p.Ended() // before its output is read, which is complete then
		if strings.Contains(p.Output(), text) {
			return nil
		}
		if ended {
			p.t.Fatalf("netlab: %s: ended (%v) before it wrote %q:\n%s", p.name, p.err, text, p.Output())
		}
		return fmt.Errorf("netlab: %s: no %q:\n%s", p.name, text, p.Output())
	})
}

// Pids lists the processes that live in the namespace now.
func (n *Namespace) Pids() []int {
	var own unix.Stat_t
	if err := unix.Fstat(int(n.net.Fd()), &own); err != nil {
		n.t.Logf("netlab: %s: stat namespace: %v", n.Name, err)
		return nil
	}
	paths, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil
	}
	var pids []int
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Ino != own.Ino || st.Dev != own.Dev {
			continue // ended meanwhile, or elsewhere
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// output collects what a process writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
