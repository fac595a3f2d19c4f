package learned

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

// childEnv tells a copy of the test binary what to do; see TestChild.
const childEnv = "NFT_TEST_CHILD"

// childTasks are what processes of their own do in tests that starve them.
var childTasks = map[string]func(t *testing.T, arg string){
	"starve": childStarves,
}

// TestChild is not a test: it is the main function of the processes that child starts.
func TestChild(t *testing.T) {
	task, arg, _ := strings.Cut(os.Getenv(childEnv), " ")
	if task == "" {
		t.Skip("only for processes that other tests start")
	}
	childTasks[task](t, arg)
}

// process is a child that has printed that it is ready.
type process struct {
	cmd    *exec.Cmd
	output string
}

// child starts a copy of the test binary in this namespace and waits for its first
// line that begins with "ready".
func child(t *testing.T, task, arg string) process {
	t.Helper()
	netlab.Need(t, "nft")
	cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"="+task+" "+arg)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // kept open until the child ends
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := process{cmd: cmd}
	t.Cleanup(p.kill)
	var all strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready") {
			p.output = lines.Text()
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return p
		}
		fmt.Fprintln(&all, lines.Text())
	}
	t.Fatalf("child %s %s ended:\n%s", task, arg, &all)
	return p
}

// kill ends the process as a crash would, and waits until the kernel has closed its sockets.
func (p process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}
