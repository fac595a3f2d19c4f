package lists

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/nameroute/nameroute/gateway/pkg/pace"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// The compiled form of a library, so that a restart need not parse what has not
// changed. It is read in one go and not mapped: 11 MB for a million names are read
// and checked in the time that the first look at the lists' files takes, and a mapped
// file that somebody cuts short would kill the process (SIGBUS).
//
// The file holds, all numbers little-endian: the magic, four lengths, the
// description in JSON, the table's hashes, its values, the sets that values stand
// for, and the SHA-256 of all that. It has the seed of the hashes, so only the owner
// may read it.
const (
	cacheName  = "compiled.index"
	cacheMagic = "nameroute index\x01" // ends with the version of the layout
	cacheHead  = len(cacheMagic) + 4*8
)

var (
	errCorrupt = errors.New("not a compiled index, or a damaged one")
	errForeign = errors.New("written by another build of the program")
)

// restore brings back what the last process had compiled. What is wrong with the
// file costs no more than the time to parse the lists.
func (l *Library) restore() {
	if l.options.Cache == "" {
		return
	}
	file := filepath.Join(l.options.Cache, cacheName)
	ix, held, err := openCache(file)
	switch {
	case err == nil:
		l.index.Store(ix)
		l.holding = held
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, errForeign): // after an upgrade: formats may be read otherwise now
		l.options.Log.Info("the index is compiled again", "file", file, "reason", err)
	default:
		aside := file + ".bad"
		if moveErr := os.Rename(file, aside); moveErr != nil {
			err = fmt.Errorf("%w; set aside: %w", err, moveErr)
		}
		l.options.Log.Warn("the stored index is damaged and is compiled again", "file", file, "aside", aside, "error", err)
	}
}

// store writes what the library has now. A file that cannot be replaced is removed:
// an old one could bring back what a list has lost since.
func (l *Library) store() {
	if l.options.Cache == "" {
		return
	}
	file := filepath.Join(l.options.Cache, cacheName)
	err := saveCache(file, l.Index(), l.holding, l.pace)
	if err == nil {
		return
	}
	if rmErr := os.Remove(file); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = fmt.Errorf("%w; remove the old one: %w", err, rmErr)
	}
	l.options.Log.Warn("the compiled index cannot be stored, the next start parses all lists", "file", file, "error", err)
}

func openCache(file string) (*Index, []*holding, error) {
	f, err := statefile.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	return readCache(f, info.Size(), program())
}

func saveCache(file string, ix *Index, held []*holding, p *pace.Pace) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	out, err := renameio.NewPendingFile(file, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	if err := writeCache(p.Writer(out), ix, held, program()); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// program tells builds of the program apart by its file: another one may read the
// same list otherwise. "" where that cannot be told.
func program() string {
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

func writeCache(w io.Writer, ix *Index, held []*holding, program string) error {
	about, err := describeCache(ix, held, program)
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
	out.WriteString(cacheMagic)
	for _, n := range []int{len(about), len(ix.names.hashes), len(ix.names.narrow), len(ix.values.sets)} {
		writeWords(out, []uint64{uint64(n)})
	}
	out.Write(about)
	writeWords(out, ix.names.hashes)
	out.Write(ix.names.narrow)
	writeWords(out, ix.values.sets)
	if err := out.Flush(); err != nil { // it keeps the first error of all of them
		return err
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// readCache reads a compiled index of size bytes. It takes no more memory than the
// size allows, and returns nothing that has not been checked.
func readCache(r io.Reader, size int64, program string) (*Index, []*holding, error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	head := make([]byte, cacheHead)
	if _, err := io.ReadFull(in, head); err != nil || !bytes.HasPrefix(head, []byte(cacheMagic)) {
		return nil, nil, corrupt(err)
	}
	lengths := wordsOf(head[len(cacheMagic):])
	left := uint64(max(0, size-int64(cacheHead)-sha256.Size))
	for i, width := range []uint64{1, 8, 1, 8} {
		if lengths[i] > left/width {
			return nil, nil, errCorrupt
		}
		left -= lengths[i] * width
	}
	if left != 0 {
		return nil, nil, errCorrupt
	}
	about, narrow := make([]byte, lengths[0]), make([]byte, lengths[2])
	_, err1 := io.ReadFull(in, about)
	hashes, err2 := takeWords(in, lengths[1])
	_, err3 := io.ReadFull(in, narrow)
	sets, err4 := takeWords(in, lengths[3])
	want := sum.Sum(nil)
	have := make([]byte, sha256.Size)
	_, err5 := io.ReadFull(r, have)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil || !bytes.Equal(have, want) {
		return nil, nil, corrupt(err)
	}
	return assemble(about, hashes, narrow, sets, program)
}

func corrupt(err error) error {
	if err == nil {
		return errCorrupt
	}
	return fmt.Errorf("%w: %w", errCorrupt, err)
}
