package dnshalf

import (
	"fmt"
	"os"
	"path/filepath"
)

// openRegular opens a file of the state directory. What else may have its name is
// refused: a folder has no lines, and opening a pipe would wait for a writer.
func openRegular(file string) (*os.File, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is no file (%s)", info.Mode().Type())
	}
	return os.Open(file)
}

// setAside makes room for a file of our own where something lies that cannot be used,
// and says so with the reason and with what that costs.
func setAside(file string, why error, cost string) {
	aside := file + ".bad"
	if err := os.Rename(file, aside); err != nil {
		log.Warningf("%s: %v: it cannot be set aside: %v; %s", file, why, err, cost)
		return
	}
	log.Warningf("%s: %v: it is set aside as %s; %s", file, why, aside, cost)
}

// tidy removes what processes that were killed while they wrote a file have left beside
// it. Nobody else writes there now: each half holds its lock.
func tidy(file string) {
	dir, name := filepath.Split(file)
	left, err := filepath.Glob(filepath.Join(dir, "."+name+"[0-9]*")) // as renameio calls them
	if err != nil {
		return // the pattern is wrong, because the path has letters that mean something in one
	}
	for _, l := range left {
		if err := os.Remove(l); err != nil {
			log.Warningf("left by a process that was killed: %v", err)
		}
	}
}
