package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// needCapabilities returns an error that names the capabilities that this process
// lacks, with the remedy.
func needCapabilities(p ...part) error {
	want := []struct {
		bit  int
		name string
		why  string
	}{{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "to change nftables, routes and interfaces and to mark sockets"}}
	var missing []string
	for _, c := range want {
		ok, err := hasCapability(c.bit)
		if err != nil {
			return err
		}
		if !ok {
			missing = append(missing, c.name+" ("+c.why+")")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return withCode(exitDenied, fmt.Errorf("missing privilege: %s: run it as root, or give it the capability (systemd: AmbientCapabilities=, docker: --cap-add)", strings.Join(missing, ", ")))
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
