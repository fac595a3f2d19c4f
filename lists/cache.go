package lists

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nameroute/nameroute/gateway"
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
	if err := statefile.RemovePending(file); err != nil { // of a process that was killed in store
		l.options.Log.Warn("an unfinished file is left", "file", file, "error", err)
	}
	var ix *index.Index
	var held []*holding
	err := l.loading.begin(file)
	if err == nil {
		ix, held, err = loadCache(file, buildID())
	}
	switch {
	case err == nil:
		l.index.Store(ix)
		l.holdings = held
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, index.ErrOtherBuild): // after an upgrade: it may read formats differently
		l.options.Log.Info("the index is compiled again", "file", file, "error", err)
	default:
		bad, moveErr := statefile.SetAside(file)
		l.options.Log.Warn("the stored index is damaged and is compiled again", "file", file, "saved_as", bad, "error", errors.Join(err, moveErr))
	}
}

// store writes what the library has now. A file that cannot be replaced is removed: an old
// one could bring back names that a list has lost since.
func (l *Library) store() {
	if l.options.Cache == "" {
		return
	}
	file := filepath.Join(l.options.Cache, cacheName)
	err := saveCache(file, buildID(), l.Index(), l.holdings, l.pace)
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

// buildID tells builds of the program apart by their file. It returns "" if that cannot be
// read.
func buildID() string {
	file, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d bytes of %d", info.Size(), info.ModTime().UnixNano())
}

// storedList is a list whose content is in a stored index.
type storedList struct {
	Read     gateway.List
	Report   Report
	Sum      digest
	Cost     index.Cost
	Prefixes []byte           // each preceded by its length
	File     *storedSignature // nil: the next start must read the file whatever its signature
}

// storedSignature is a signature that can be relied on later.
type storedSignature struct {
	Size         int64
	Mtime, Ctime [2]int64 // seconds and nanoseconds
	Dev, Inode   uint64
}

// encodeHoldings encodes what a library knows of the lists in its index.
func encodeHoldings(held []*holding) ([]byte, error) {
	var stored []storedList
	for _, h := range held {
		if !h.good {
			continue
		}
		s := storedList{Read: h.read, Report: h.report, Sum: h.sum, Cost: h.cost, File: h.storedSignature()}
		s.Report.Err = nil // File is nil then
		for _, p := range h.prefixes {
			b, err := p.MarshalBinary()
			if err != nil {
				return nil, err
			}
			s.Prefixes = append(append(s.Prefixes, byte(len(b))), b...)
		}
		stored = append(stored, s)
	}
	return json.Marshal(stored)
}

func (h *holding) storedSignature() *storedSignature {
	s := h.sig
	if s.young || s.missing || h.report.Err != nil || h.list != h.read {
		return nil
	}
	return &storedSignature{
		Size: s.size, Mtime: seconds(s.mtime), Ctime: seconds(s.ctime), Dev: s.dev, Inode: s.inode,
	}
}

func seconds(t time.Time) [2]int64 { return [2]int64{t.Unix(), int64(t.Nanosecond())} }

// decodeHoldings decodes what encodeHoldings returned of an index over lists of these names.
func decodeHoldings(attached []byte, names []string) ([]*holding, error) {
	var stored []storedList
	if err := json.Unmarshal(attached, &stored); err != nil {
		return nil, fmt.Errorf("%w: %w", index.ErrDamaged, err)
	}
	var held []*holding
	for _, s := range stored {
		h, ok := s.holding()
		if !ok || !slices.Contains(names, s.Read.Name) {
			return nil, index.ErrDamaged
		}
		held = append(held, h)
	}
	return held, nil
}

func (s storedList) holding() (*holding, bool) {
	h := &holding{list: s.Read, read: s.Read, good: true, sum: s.Sum, cost: s.Cost, report: s.Report, sig: signature{young: true}}
	if f := s.File; f != nil {
		h.sig = signature{
			size: f.Size, mtime: time.Unix(f.Mtime[0], f.Mtime[1]), ctime: time.Unix(f.Ctime[0], f.Ctime[1]),
			dev: f.Dev, inode: f.Inode,
		}
	}
	for b := s.Prefixes; len(b) > 0; {
		n := int(b[0])
		var p netip.Prefix
		if n >= len(b) || p.UnmarshalBinary(b[1:1+n]) != nil || !p.IsValid() {
			return nil, false
		}
		h.prefixes = append(h.prefixes, p)
		b = b[1+n:]
	}
	return h, true
}
