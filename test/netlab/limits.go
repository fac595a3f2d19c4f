//go:build linux

package netlab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// shared are limits of the machine that all its namespaces share or cannot raise, and what
// the largest tests need of them: connections of a namespace, neighbours and watchers of all.
var shared = []struct {
	sysctl string
	least  int
}{
	{"net/netfilter/nf_conntrack_max", 32768},
	{"net/ipv4/neigh/default/gc_thresh3", 1024},
	{"net/ipv6/neigh/default/gc_thresh3", 1024},
	{"fs/inotify/max_user_instances", 128},
}

// warnOfLimits says which limits of the machine may fail tests. It does not raise them: they
// are not the tests' own.
func warnOfLimits() {
	for _, s := range shared {
		text, err := os.ReadFile("/proc/sys/" + s.sysctl)
		if err != nil {
			continue // without that part of the kernel nothing needs it
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n < s.least {
			fmt.Fprintf(os.Stderr, "netlab: %s is %d on this machine: tests may fail below %d\n", strings.ReplaceAll(s.sysctl, "/", "."), n, s.least)
		}
	}
}
