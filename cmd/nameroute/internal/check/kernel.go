package check

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
)

// checkKernel looks for what the kernel must have. A kernel with modules loads
// conntrack by itself when the nft table is made.
func (h *host) checkKernel(r *report, stands func() (bool, error)) {
	if _, err := stands(); err != nil {
		r.wrong(exit.Host, fmt.Errorf("nf_tables: the kernel cannot be asked for nft tables: %w: modprobe nf_tables, or take a kernel that has CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET", err))
	}
	if _, ok := h.Read("/proc/sys/net/netfilter/nf_conntrack_max"); ok || h.hasModules() {
		return
	}
	r.warn("conntrack is not in the kernel, and no module of it can be loaded from here: flows cannot keep their route: modprobe nf_conntrack (in a container: on the host)")
}

// hasModules reports whether the running kernel's modules lie here.
func (h *host) hasModules() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	_, err := os.Stat(filepath.Join(string(h.Root), "/lib/modules", unix.ByteSliceToString(u.Release[:])))
	return err == nil
}
