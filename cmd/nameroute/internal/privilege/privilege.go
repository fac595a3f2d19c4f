// Package privilege looks at what this process is allowed to do.
package privilege

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// Need returns an error that names the capability that this process lacks, with the
// remedy.
func Need() error {
	ok, err := Has(unix.CAP_NET_ADMIN)
	if err != nil || ok {
		return err
	}
	return exit.With(exit.Denied, errors.New("missing privilege: CAP_NET_ADMIN (to change nftables, routes and interfaces and to mark sockets): run it as root, or give it the capability (systemd: AmbientCapabilities=, docker: --cap-add)"))
}

// Drop gives up all capabilities. A program built with cgo keeps them, and so does one whose
// unit forbids the system call (SystemCallFilter=~@privileged): there they are the unit's
// business.
func Drop() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&none[0])), 0)
	if errno != 0 && errno != syscall.ENOTSUP && errno != syscall.EPERM {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}

// Has reports whether a capability is in the effective set.
func Has(capability int) (bool, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(os.Getpid())}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false, fmt.Errorf("read own capabilities: %w", err)
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0, nil
}
