package daemon

import (
	"os"
	"runtime"
)

const (
	// fewCores is up to how many cores one is easily left with none that is free.
	fewCores = 4
	// spareThreads is how many threads more than cores run Go code then.
	spareThreads = 2
)

// addThreads makes room for answers while lists are compiled and memory is collected, which
// on a machine with two cores take both. Go would look for packets 10 ms later
// (runtime/proc.go, sysmon); the kernel shares out cores by the millisecond. GOMAXPROCS in the
// environment overrules it.
func addThreads() {
	if n := runtime.GOMAXPROCS(0); n <= fewCores && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(n + spareThreads)
	}
}
