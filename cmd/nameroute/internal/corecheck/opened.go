package corecheck

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nameroute/nameroute/corefile"
)

// maxFile bounds a file that a directive names. CoreDNS reads such files whole.
const maxFile = 64 << 20

// unreadable returns an error for each file that a block names and that CoreDNS could not
// read to its end: a pipe waits for a writer, and with it the start or reload.
func unreadable(b corefile.Block) (errs []error) {
	root := ""
	for _, d := range b.Directives {
		if d.Name == "root" && len(d.Args) > 0 {
			root = d.Args[0]
		}
	}
	for _, d := range b.Directives {
		words := d.Args
		for _, p := range d.Properties {
			if p.Name != "keylog" && p.Name != "database" { // written to
				words = append(words[:len(words):len(words)], p.Args...)
			}
		}
		for _, w := range words {
			if !filepath.IsAbs(w) {
				w = filepath.Join(root, w)
			}
			for _, file := range filesOf(d.Name, w) {
				if why := cannotBeRead(file); why != "" {
					errs = append(errs, d.Errorf("%s: %s %s", d.Name, file, why))
				}
			}
		}
	}
	return errs
}

// filesOf returns what a directive reads of a path: *auto* the files of a directory, the
// others that one.
func filesOf(directive, path string) []string {
	files := []string{path}
	if info, err := os.Stat(path); directive != "auto" || err != nil || !info.IsDir() {
		return files
	}
	_ = filepath.WalkDir(path, func(file string, _ fs.DirEntry, err error) error {
		if err == nil {
			files = append(files, file)
		}
		return nil // what cannot be read is told by the directive
	})
	return files
}

// cannotBeRead returns why a file cannot be read to its end, "" where it can or is none.
func cannotBeRead(file string) string {
	info, err := os.Stat(file)
	switch {
	case err != nil || file == os.DevNull:
		return ""
	case info.Mode()&fs.ModeNamedPipe != 0:
		return "is a pipe, which waits for a writer: want a regular file"
	case info.Mode()&fs.ModeDevice != 0:
		return "is a device: want a regular file"
	case info.Mode().IsRegular() && info.Size() > maxFile:
		return "is larger than 64 MiB: want a smaller file, or a list in gateway.yaml"
	}
	return ""
}
