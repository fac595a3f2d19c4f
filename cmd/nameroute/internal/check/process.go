package check

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/control"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/ports"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
	"github.com/nameroute/nameroute/corefile"
)

// checkProcess checks what the process needs: privileges, /dev/net/tun and its ports.
func checkProcess(o Options, f *corefile.File, r *report) {
	if err := privilege.Need(); err != nil {
		r.wrong(exit.Denied, err)
	}
	err := unix.Access("/dev/net/tun", unix.R_OK|unix.W_OK)
	switch {
	case errors.Is(err, unix.EACCES) && unix.Geteuid() != 0:
		r.unknown("/dev/net/tun: %v: run check as root", err)
	case err != nil:
		r.warn("/dev/net/tun: %v: needed for tunnels unless the kernel has WireGuard (modprobe tun; docker: --device /dev/net/tun)", err)
	}
	if control.AnyRuns(o.Run) {
		r.ok("nameroute is running")
		return
	}
	for _, err := range ports.InUse(listenersOf(f)) {
		r.wrong(exit.Port, err)
	}
}
