package policy

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"time"
)

const (
	// resolverLook is how often the files that name the WAN's resolvers are read. They
	// are few and small; a notice (inotify) would say nothing of a file that is mounted
	// over, as in a container, or of a folder that is not there yet.
	resolverLook = time.Second
	// resolverRest is how long a file must have rested: some programs cut it first and
	// write it then.
	resolverRest = 50 * time.Millisecond
	// maxResolverFile is as much of a file as is compared, in bytes.
	maxResolverFile = 64 << 10
)

// WatchResolvers calls changed, at most once a second, when the files have changed in
// which the system names the WAN's resolvers: replaced, written in place, made or
// deleted. It ends with the context.
func WatchResolvers(ctx context.Context, changed func()) {
	seen := resolverFiles()
	for rest(ctx, resolverLook) {
		now := resolverFiles()
		if now == seen {
			continue
		}
		for rest(ctx, resolverRest) {
			again := resolverFiles()
			if again == now {
				break
			}
			now = again
		}
		if ctx.Err() != nil {
			return
		}
		seen = now
		changed()
	}
}

// resolverFiles stands for the content of the files.
func resolverFiles() [len(systemResolvers)][sha256.Size]byte {
	var sums [len(systemResolvers)][sha256.Size]byte
	for i, name := range systemResolvers {
		f, err := os.Open(name)
		if err != nil {
			continue // most systems have only one of them
		}
		h := sha256.New()
		if _, err := io.CopyN(h, f, maxResolverFile); err == nil || err == io.EOF {
			sums[i] = [sha256.Size]byte(h.Sum(nil))
		}
		f.Close()
	}
	return sums
}

// rest waits and reports whether the context still lives.
func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
