package daemon

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// limitMemory has the garbage collector keep the process below the memory that its control
// group allows, such as a unit's MemoryMax=: the kernel would kill it there. A tenth is
// left for what is not Go's heap. GOMEMLIMIT in the environment takes precedence.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	if most, ok := memoryMax("/proc/self/cgroup", "/sys/fs/cgroup"); ok {
		debug.SetMemoryLimit(most - most/10)
	}
}

// memoryMax returns the lowest memory.max, in bytes, of a process's control group and of
// those above it (cgroup v2). Without one, or where it cannot be read, there is no limit.
func memoryMax(membership, root string) (most int64, ok bool) {
	groups, err := statefile.ReadFile(membership)
	if err != nil {
		return 0, false
	}
	most = math.MaxInt64
	for line := range strings.Lines(string(groups)) {
		group, v2 := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !v2 {
			continue
		}
		for dir := filepath.Join("/", group); ; dir = filepath.Dir(dir) {
			text, err := statefile.ReadFile(filepath.Join(root, dir, "memory.max"))
			if err == nil {
				if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 { // else "max"
					most, ok = min(most, n), true
				}
			}
			if dir == "/" {
				break
			}
		}
	}
	return most, ok
}
