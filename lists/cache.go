package lists

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/lists/index"
)

// cacheName is the file of the compiled form of a library, by which a restart need not parse
// the lists that have not changed.
const cacheName = "compiled.index"

// restore loads what the last process compiled. A file that cannot be used costs only the
// time to parse the lists.
func (l *Library) restore() {
	if l.options.Cache == "" {
		return
	}
	file := filepath.Join(l.options.Cache, cacheName)
	ix, held, err := loadCache(file, buildID())
	switch {
	case err == nil:
		l.index.Store(ix)
		l.holding = held
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, index.ErrOtherBuild): // after an upgrade: it may read formats differently
		l.options.Log.Info("the index is compiled again", "file", file, "reason", err)
	default:
		bad, moveErr := statefile.SetAside(file)
		l.options.Log.Warn("the stored index is damaged and is compiled again", "file", file, "aside", bad, "error", errors.Join(err, moveErr))
	}
}

// store writes what the library has now. A file that cannot be replaced is removed: an old
// one could bring back names that a list has lost since.
func (l *Library) store() {
	if l.options.Cache == "" {
		return
	}
	file := filepath.Join(l.options.Cache, cacheName)
	err := saveCache(file, buildID(), l.Index(), l.holding, l.pace)
	if err == nil {
		return
	}
	if rmErr := os.Remove(file); !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	l.options.Log.Warn("the compiled index cannot be stored, the next start parses all lists", "file", file, "error", err)
}

func loadCache(file, build string) (*index.Index, []*holding, error) {
	f, err := statefile.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	ix, attached, err := index.Load(f, info.Size(), build)
	if err != nil {
		return nil, nil, err
	}
	held, err := decodeHoldings(attached, ix.Names())
	return ix, held, err
}

func saveCache(file, build string, ix *index.Index, held []*holding, p *pace.Pace) error {
	attached, err := encodeHoldings(held)
	if err != nil {
		return err
	}
	return statefile.Replace(file, 0o600, func(w io.Writer) error { return ix.Store(p.Writer(w), build, attached) })
}
