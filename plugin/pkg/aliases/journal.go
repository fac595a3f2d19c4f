package aliases

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway/pkg/logonce"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/gateway/pkg/wallclock"
)

const (
	journalFlush   = 100 * time.Millisecond // the newest names that kill -9 may lose
	journalRewrite = 10 * time.Minute       // how often lapsed names are deleted and the file is rewritten
	journalRetry   = 5 * time.Second        // between two tries while writing fails
	journalBacklog = 4096                   // names waiting to be written
	maxJournalLine = 8192                   // bytes; a name has 1004 at most, escaped
)

// What is written is bounded, because a flood of names can make any number of aliases for a
// while, and flash wears out. Beyond it, lines are left out, and the file is rewritten with
// all that there is when that is due: a process that is killed before loses them.
const (
	journalRate    = 64 << 10    // bytes a second that are appended in the long run
	journalBurst   = 1 << 20     // bytes that are appended at once, at most
	journalCompact = time.Minute // the least time between two rewrites of what has grown; a large file is also rewritten at journalRate at most
)

// File returns where aliases are stored in a state directory.
func File(state string) string { return filepath.Join(state, "names") }

// Persist reads the aliases that an earlier process left in a file and writes all changes
// to it from then on. A line is `UNIXSECONDS NAME LIST,LIST DOMAIN`. A file with lines that cannot
// be parsed is set aside, and its other lines are used. Persist returns at once; the
// channel is closed when ctx has ended and everything is on disk.
func (s *Store) Persist(ctx context.Context, file string, log *slog.Logger) (done <-chan struct{}) {
	log = log.With("part", "aliases")
	if bad, err := s.load(file); err != nil || bad > 0 {
		if err == nil {
			err = fmt.Errorf("%d lines cannot be parsed", bad)
		}
		badFile, renameErr := statefile.SetAside(file)
		log.Warn("stored aliases are damaged; they are learned again with the next answers", "file", file, "set_aside", badFile, "error", errors.Join(err, renameErr))
	}
	if err := statefile.RemovePending(file); err != nil {
		log.Warn("files of a killed process cannot be removed", "file", file, "error", err)
	}
	j := &journal{store: s, file: file, clock: wallclock.New(), log: log}
	j.report(j.rewrite())
	s.changed = make(chan alias, journalBacklog)
	end := make(chan struct{})
	go func() {
		defer close(end)
		j.run(ctx)
	}()
	return end
}

// load reads a journal. A missing one is empty.
func (s *Store) load(file string) (bad int, err error) {
	f, err := statefile.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return s.read(f, info.ModTime())
}

// read adds the aliases of a journal that was last written at a time of the wall clock.
// Where the clock was not set then, or is not set now, no time has passed. Lifetimes count
// from now on, so that the clock may be set. A last line without an end, cut by a crash,
// is ignored.
func (s *Store) read(r io.Reader, written time.Time) (bad int, err error) {
	now := s.now()
	then := now
	if now.Before(written) || written.Before(wallclock.Earliest) {
		then = written
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxJournalLine)
	lines.Split(completeLines)
	for lines.Scan() {
		a, err := parseAlias(lines.Text())
		if err != nil {
			bad++
			continue
		}
		// A clock that was set back must not keep a name beyond any lifetime.
		a.until = now.Add(a.until.Sub(then))
		if now.Before(a.until) && a.until.Before(now.Add(maxLife)) && s.names.Size() < s.size {
			s.mu.Lock()
			s.put(a.name, a.entry)
			s.mu.Unlock()
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return bad + 1, nil
	}
	return bad, lines.Err()
}

// completeLines is bufio.ScanLines without a last line that has no end.
func completeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if atEOF && bytes.IndexByte(data, '\n') < 0 {
		return len(data), nil, nil
	}
	return bufio.ScanLines(data, atEOF)
}

// maxLife is longer than any sensible ceiling; see read.
const maxLife = 31 * 24 * time.Hour

func parseAlias(line string) (alias, error) {
	f := strings.Fields(line)
	if len(f) == 3 { // of an earlier version
		f = append(f, f[1])
	}
	if len(f) != 4 || !strings.HasSuffix(f[1], ".") || !strings.HasSuffix(f[3], ".") {
		return alias{}, fmt.Errorf("%q: want seconds, name, lists and domain", line)
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return alias{}, fmt.Errorf("%q: %w", f[0], err)
	}
	return alias{f[1], entry{until: time.Unix(sec, 0), lists: strings.Split(f[2], ","), domain: f[3]}}, nil
}

func (a alias) append(b []byte) []byte {
	b = strconv.AppendInt(b, a.until.Unix(), 10)
	b = append(b, ' ')
	b = append(b, a.name...)
	b = append(b, ' ')
	b = append(b, strings.Join(a.lists, ",")...)
	b = append(b, ' ')
	b = append(b, a.domain...)
	return append(b, '\n')
}

// journal persists names asynchronously: an answer never waits for the disk.
type journal struct {
	store   *Store
	file    string
	log     *slog.Logger
	clock   *wallclock.Watch
	buf     []byte
	paid    time.Time // when all that was appended is paid for, at journalRate
	base    int64     // bytes of the file when it was rewritten
	grown   int64     // bytes that were appended since
	behind  bool      // lines were left out since
	written time.Time // when it was rewritten
	failing bool      // the last write failed
	retryAt time.Time // while failing
	edge    logonce.Edge
}

func (j *journal) run(ctx context.Context) {
	flush, rewrite := time.NewTicker(journalFlush), time.NewTicker(journalRewrite)
	defer flush.Stop()
	defer rewrite.Stop()
	for {
		select {
		case a := <-j.store.changed:
			if !j.failing {
				j.buf = a.append(j.buf)
			}
		case <-flush.C:
			switch stepped := j.clock.Stepped(); {
			case stepped, j.failing && time.Now().After(j.retryAt):
				j.report(j.rewrite()) // the file is dated wrongly, or ends with half a line
			case !j.failing && len(j.buf) > 0 && j.mayAppend(time.Now()):
				j.report(j.write())
			}
			if !j.failing && j.compactDue(time.Now()) {
				j.report(j.rewrite())
			}
		case <-rewrite.C:
			j.store.sweep()
			j.report(j.rewrite())
		case <-ctx.Done():
			j.report(j.rewrite())
			return
		}
	}
}

// mayAppend reports whether the collected lines may be written now, and drops them where
// they may not.
func (j *journal) mayAppend(now time.Time) bool {
	paid := later(j.paid, now).Add(durationOf(int64(len(j.buf))))
	if paid.Sub(now) > durationOf(journalBurst) {
		j.behind, j.buf = true, j.buf[:0]
		return false
	}
	j.paid = paid
	return true
}

// compactDue reports whether the file is to be rewritten because lines were left out, or it
// has grown to twice its size.
func (j *journal) compactDue(now time.Time) bool {
	if j.store.missed.Swap(false) {
		j.behind = true
	}
	return (j.behind || j.grown > max(j.base, journalBurst)) && now.Sub(j.written) >= max(journalCompact, durationOf(j.base))
}

// durationOf is how long it takes to write some bytes at journalRate.
func durationOf(bytes int64) time.Duration { return time.Duration(bytes) * time.Second / journalRate }

// report logs when writing begins to fail, and when it works again. A full disk must not
// stop an answer: the names are in memory, too.
func (j *journal) report(err error) {
	switch began, ended := j.edge.Failing("", err); {
	case began:
		j.log.Warn("aliases cannot be stored, a restart would lose them", "file", j.file, "error", err)
	case ended:
		j.log.Info("aliases are stored again", "file", j.file)
	}
	if j.failing = err != nil; j.failing {
		j.buf, j.retryAt = j.buf[:0], time.Now().Add(journalRetry) // the next rewrite has them all
	}
}

// write appends the collected lines.
func (j *journal) write() error {
	f, err := statefile.OpenFile(j.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(j.buf)
	if err == nil {
		j.grown += int64(len(j.buf))
		j.buf = j.buf[:0]
	}
	return errors.Join(err, f.Close())
}

// rewrite replaces the file by what is in memory now.
func (j *journal) rewrite() error {
	size := int64(0)
	err := statefile.Replace(j.file, 0o600, func(w io.Writer) (err error) {
		out := bufio.NewWriter(w)
		var line []byte
		now := j.store.now()
		j.store.names.Range(func(name string, e entry) bool {
			e.until = now.Add(e.until.Sub(now)) // by the clock as it is set now
			line = alias{name, e}.append(line[:0])
			_, err = out.Write(line)
			size += int64(len(line))
			return err == nil
		})
		return errors.Join(err, out.Flush())
	})
	if err == nil {
		j.buf = j.buf[:0]
		j.base, j.grown, j.behind, j.written = size, 0, false, time.Now()
	}
	return err
}
