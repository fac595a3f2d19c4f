package format

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// anyPart is a selector that no file has a part for.
const anyPart = "\x00"

// Categories returns the names of the parts of a file or directory, sorted, that a colon
// selects: categories or countries.
func Categories(file string) ([]string, error) {
	var names []string
	if info, err := os.Stat(file); err == nil && info.IsDir() {
		dir := file
		if data := filepath.Join(file, "data"); exists(data) {
			dir = data
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				names = append(names, e.Name())
			}
		}
	} else {
		// No file has this category: the error knows all that there are.
		err := Source{Path: file, Selector: anyPart}.Read("", &Sink{})
		var unknown *ruleset.UnknownCategoryError
		if !errors.As(err, &unknown) {
			return nil, fmt.Errorf("%s: %w", file, cmp.Or(err, errors.New("it has no parts")))
		}
		for _, name := range unknown.Known {
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
