package daemon

import (
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway/pkg/hold"
)

// newHolder returns what keeps the nft table owned while this process does not run. It
// starts `nameroute hold` where none runs.
func newHolder(o Options) *hold.Client {
	return hold.NewClient(o.Run, func() error { return startHolder(o.Run) })
}

// firstInherited is the first descriptor after stdin, stdout and stderr.
const firstInherited = 3

// startHolder starts a process that outlives this one and its terminal.
func startHolder(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil { // it runs in /
		return err
	}
	// What this process has inherited, such as another program's lock, is not for one that
	// outlives it. Kernels before 5.11 pass it on.
	_ = unix.CloseRange(firstInherited, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	c := exec.Command(self, "hold", "--run-dir", dir)
	c.Dir, c.Env = "/", []string{"GOMAXPROCS=1"}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := c.Start(); err != nil {
		return err
	}
	go func() { _ = c.Wait() }() // that it has ended is seen by its socket
	return nil
}
