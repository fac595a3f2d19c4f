// Package child lets a test run part of itself in a process of its own, which it can kill.
package child

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// env tells a copy of the test binary what to do; see Main.
const env = "NETLAB_CHILD"

// Main is the main function of the processes that Start starts. A test called TestChild
// calls it with what they can do, by name; in the test process it skips that test.
func Main(t *testing.T, tasks map[string]func(t *testing.T, arg string)) {
	task, arg, _ := strings.Cut(os.Getenv(env), " ")
	if task == "" {
		t.Skip("only for processes that other tests start")
	}
	tasks[task](t, arg)
}

// Process is a child that has printed that it is ready.
type Process struct {
	Output string // its line that begins with "ready"
	cmd    *exec.Cmd
}

// Start starts a copy of the test binary in this namespace and waits for its first
// line that begins with "ready". The child's standard input stays open until it is killed,
// at the end of the test at the latest.
func Start(t *testing.T, task, arg string) Process {
	t.Helper()
	netlab.Need(t, "nft")
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+task+" "+arg)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := Process{cmd: cmd}
	t.Cleanup(p.Kill)
	var all strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			p.Output = lines.Text()
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return p
		}
		fmt.Fprintln(&all, lines.Text())
	}
	t.Fatalf("child %s %s ended:\n%s", task, arg, &all)
	return p
}

// Kill ends the process as a crash would, and waits until the kernel has closed its sockets.
func (p Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}
