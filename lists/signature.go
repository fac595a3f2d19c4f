package lists

import (
	"os"
	"syscall"
	"time"
)

// signature tells, without reading it, whether a file has changed since it was read.
type signature struct {
	size         int64
	mtime, ctime time.Time
	dev, inode   uint64
	young        bool // changed so shortly before that another change may leave the same signature
	missing      bool
}

// clockGrain is more than the granularity of time stamps of common file systems (FAT: 2 s).
const clockGrain = 3 * time.Second

// sign returns the signature of a file.
func sign(file string, now time.Time) signature {
	info, err := os.Stat(file)
	if err != nil {
		return signature{missing: true}
	}
	s := signature{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.inode = uint64(st.Dev), st.Ino
		s.ctime = time.Unix(st.Ctim.Unix())
	}
	s.young = now.Sub(s.mtime) < clockGrain || now.Sub(s.ctime) < clockGrain
	return s
}

// same reports whether the file cannot have changed between two signatures.
func (s signature) same(later signature) bool {
	young := s.young
	s.young, later.young = false, false
	return !young && s == later
}
