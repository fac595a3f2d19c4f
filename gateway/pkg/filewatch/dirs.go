package filewatch

import (
	"fmt"
	"os"
	"path/filepath"
)

const (
	maxLinks = 40 // symbolic links that are followed from one file, as the kernel's MAXSYMLINKS
	// maxRounds bounds how often the directories are looked up while they change.
	maxRounds = 10
)

// watcher is what is used of an fsnotify.Watcher.
type watcher interface {
	Add(dir string) error
	Remove(dir string) error
}

// dirs keeps the directories watched that a set of files depends on.
type dirs struct {
	watcher watcher
	watched map[string]os.FileInfo // of each directory when it was added
	failed  map[string]bool        // directories that cannot be watched
}

func newDirs(w watcher) *dirs {
	return &dirs{watcher: w, watched: map[string]os.FileInfo{}, failed: map[string]bool{}}
}

// watch watches the directories of files, of the links on the way to them, and, where a
// directory is missing, the nearest one above it that exists. Each error is about a
// directory that cannot be watched, and is returned once.
//
// A directory or link that appears after it was looked up and before the one above it is
// watched causes no event. So the directories are looked up until they stay the same.
func (d *dirs) watch(files []string) (errs []error) {
	for range maxRounds {
		want := map[string]bool{}
		stable := true
		for _, file := range files {
			for _, dir := range dirsOf(file) {
				// Two names of one directory would share an inotify watch, and lose it together.
				dir, err := filepath.EvalSymlinks(existing(dir))
				if err != nil || want[dir] {
					stable = stable && err == nil // it vanished just now
					continue
				}
				want[dir] = true
				unchanged, err := d.add(dir)
				if stable = stable && unchanged; err != nil {
					errs = append(errs, err)
				}
			}
		}
		for dir := range d.watched {
			if !want[dir] {
				d.remove(dir)
			}
		}
		if stable {
			break
		}
	}
	return errs
}

// add watches a directory, and reports whether it was watched before. A watch belongs to
// the inode: a directory that was replaced needs a new one. The kernel and fsnotify drop the
// watch of a directory that is deleted or renamed, even if the path leads to the same inode,
// or to one of the same number, later. So each directory is added each time, which does
// nothing where the watch exists.
func (d *dirs) add(dir string) (unchanged bool, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return false, nil // it vanished just now
	}
	before := d.watched[dir]
	if before != nil && !os.SameFile(before, info) {
		d.remove(dir)
		before = nil
	}
	if err := d.watcher.Add(dir); err != nil {
		if d.failed[dir] {
			return true, nil
		}
		d.failed[dir] = true
		return true, fmt.Errorf("watch %s: %w", dir, err)
	}
	delete(d.failed, dir)
	d.watched[dir] = info
	return before != nil, nil
}

func (d *dirs) remove(dir string) {
	delete(d.watched, dir)
	_ = d.watcher.Remove(dir) // the error is that there is no such watch
}

// dirsOf returns the directories in which a change can change what a path leads to:
// those that hold the file and each symbolic link on the way to it.
func dirsOf(file string) (dirs []string) {
	for range maxLinks {
		dir := filepath.Dir(file)
		dirs = append(dirs, dir)
		if target, err := os.Readlink(file); err == nil {
			file = resolveLink(dir, target)
			continue
		}
		// A link among the directories, as Kubernetes' ..data.
		link, rest := highestLink(dir)
		if link == "" {
			return dirs
		}
		target, err := os.Readlink(link)
		if err != nil {
			return dirs
		}
		file = filepath.Join(resolveLink(filepath.Dir(link), target), rest, filepath.Base(file))
		dirs = append(dirs, filepath.Dir(link))
	}
	return dirs
}

// highestLink returns the symbolic link nearest to the root in a directory's path, and
// what follows it.
func highestLink(dir string) (link, rest string) {
	for d := dir; d != filepath.Dir(d); d = filepath.Dir(d) {
		if info, err := os.Lstat(d); err == nil && info.Mode()&os.ModeSymlink != 0 {
			link = d
		}
	}
	if link == "" {
		return "", ""
	}
	rest, err := filepath.Rel(link, dir)
	if err != nil {
		return "", ""
	}
	return link, rest
}

func resolveLink(dir, target string) string {
	if filepath.IsAbs(target) {
		return target
	}
	return filepath.Join(dir, target)
}

// existing returns the directory, or the nearest one above it that exists.
func existing(dir string) string {
	for dir != filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return dir
}
