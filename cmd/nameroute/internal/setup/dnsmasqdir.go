package setup

import (
	"os"
	"path/filepath"
	"strings"
)

// readDir reads conf-dir=DIRECTORY[,SUFFIX...], where *.conf selects files and .bak
// excludes them.
func (c *dnsmasqConf) readDir(value string) error {
	parts := strings.Split(value, ",")
	entries, err := os.ReadDir(parts[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasSuffix(name, "~") || name[0] == '.' || name[0] == '#' || !isSelected(name, parts[1:]) {
			continue
		}
		if err := c.readFile(filepath.Join(parts[0], name)); err != nil {
			return err
		}
	}
	return nil
}

func isSelected(name string, suffixes []string) bool {
	only, match := false, false
	for _, s := range suffixes {
		if end, ok := strings.CutPrefix(s, "*"); ok {
			only = true
			match = match || strings.HasSuffix(name, end)
		} else if s != "" && strings.HasSuffix(name, s) {
			return false
		}
	}
	return match || !only
}
