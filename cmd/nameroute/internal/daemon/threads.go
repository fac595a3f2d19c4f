package daemon

import (
	"os"
	"runtime"
)

const (
	// fewCores is the number of cores up to which all of them are easily busy.
	fewCores = 4
	// spareThreads is the number of threads beyond the cores that run Go code then.
	spareThreads = 2
)

// addThreads keeps answers fast while lists are compiled and memory is collected, which
// use both cores of a machine with two. With as many threads as cores, the Go scheduler
// polls the network up to 10 ms late (runtime/proc.go, sysmon); the kernel's scheduler
// switches threads within milliseconds. GOMAXPROCS in the environment takes precedence.
func addThreads() {
	if n := runtime.GOMAXPROCS(0); n <= fewCores && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(n + spareThreads)
	}
}
