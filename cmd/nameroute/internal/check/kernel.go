package check

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// checkKernel checks for nf_tables and conntrack. A kernel with modules loads conntrack
// when the nft table is made.
func (h *host) checkKernel(r *report, tableExists func() (bool, error)) {
	_, err := tableExists()
	switch {
	case errors.Is(err, unix.EPERM):
		r.unknown("nf_tables: nft tables cannot be listed: %v: run check as root", err)
	case err != nil:
		r.wrong(exit.Host, fmt.Errorf("nf_tables: cannot list nft tables: %w: modprobe nf_tables, or use a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET", err))
	}
	if _, ok := h.Read("/proc/sys/net/netfilter/nf_conntrack_max"); ok || h.hasModules() {
		return
	}
	r.warn("the kernel has no conntrack, and its module cannot be loaded from here: established flows cannot keep their route: modprobe nf_conntrack (in a container: on the host)")
}

// hasModules reports whether the running kernel's modules are installed here.
func (h *host) hasModules() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	return h.Exists("/lib/modules/" + unix.ByteSliceToString(u.Release[:]))
}
