package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// needCapabilities returns an error that names the capability that this process
// lacks, with the remedy.
func needCapabilities() error {
	ok, err := hasCapability(unix.CAP_NET_ADMIN)
	if err != nil || ok {
		return err
	}
	return exit.With(exit.Denied, errors.New("missing privilege: CAP_NET_ADMIN (to change nftables, routes and interfaces and to mark sockets): run it as root, or give it the capability (systemd: AmbientCapabilities=, docker: --cap-add)"))
}

// hasCapability reports whether a capability is in the effective set.
func hasCapability(bit int) (bool, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3, Pid: int32(os.Getpid())}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false, fmt.Errorf("read own capabilities: %w", err)
	}
	return data[bit/32].Effective&(1<<(bit%32)) != 0, nil
}
