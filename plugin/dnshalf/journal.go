package dnshalf

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

const (
	journalFlush   = 100 * time.Millisecond // what a kill -9 may lose of the newest names
	journalSweep   = 10 * time.Minute       // how often lapsed names go and the file is written anew
	journalAgain   = 5 * time.Second        // between two tries while the disk refuses
	journalBacklog = 4096                   // names waiting to be written
	maxJournalLine = 4096                   // bytes; a name has 1004 at most, escaped
)

// openJournal reads the names that an earlier process left in file and keeps it up
// to date from then on. A line is `UNIXSECONDS NAME LIST,LIST`. A file with lines that
// cannot be read is set aside, without these. The journal ends with ctx; done is closed
// when everything is on disk.
func (n *Names) openJournal(ctx context.Context, file string) (done <-chan struct{}) {
	if bad, err := n.load(file); err != nil || bad > 0 {
		if err == nil {
			err = fmt.Errorf("%d lines cannot be read", bad)
		}
		setAside(file, err, "names that it held are known again when an answer leads to them")
	}
	tidy(file)
	j := &journal{names: n, file: file, clock: watchClock()}
	j.say(j.rewrite())
	n.changed = make(chan named, journalBacklog)
	end := make(chan struct{})
	go func() {
		defer close(end)
		j.run(ctx)
	}()
	return end
}

// load reads a journal. A missing one is an empty one.
func (n *Names) load(file string) (bad int, err error) {
	f, err := openRegular(file)
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
	return n.read(f, info.ModTime())
}

// read takes in a journal that was last written at a time of the same clock. Where
// that was not set then, or is not now, no time has passed: see readLearned. What is
// remembered counts from now on, so that the clock may jump. The last line is left out
// where a crash has cut it.
func (n *Names) read(r io.Reader, written time.Time) (bad int, err error) {
	now := n.now()
	then := now
	if now.Before(written) || written.Before(clockSet) {
		then = written
	}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxJournalLine)
	s.Split(wholeLines)
	for s.Scan() {
		e, err := parseNamed(s.Text())
		if err != nil {
			bad++
			continue
		}
		// No clock that was set back may keep a name for longer than any lifetime.
		e.until = now.Add(e.until.Sub(then))
		if now.Before(e.until) && e.until.Before(now.Add(maxNameLife)) && n.m.Size() < n.size {
			n.m.Store(e.name, e.ledTo)
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return bad + 1, nil
	}
	return bad, s.Err()
}

// wholeLines is bufio.ScanLines without a last line that has no end.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if atEOF && bytes.IndexByte(data, '\n') < 0 {
		return len(data), nil, nil
	}
	return bufio.ScanLines(data, atEOF)
}

// maxNameLife is longer than any ceiling that makes sense; see read.
const maxNameLife = 31 * 24 * time.Hour

func parseNamed(line string) (named, error) {
	f := strings.Fields(line)
	if len(f) != 3 || !strings.HasSuffix(f[1], ".") {
		return named{}, fmt.Errorf("%q: want seconds, name and lists", line)
	}
	sec, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return named{}, fmt.Errorf("%q: %w", f[0], err)
	}
	return named{f[1], ledTo{until: time.Unix(sec, 0), lists: strings.Split(f[2], ",")}}, nil
}

func (e named) append(b []byte) []byte {
	b = strconv.AppendInt(b, e.until.Unix(), 10)
	b = append(b, ' ')
	b = append(b, e.name...)
	b = append(b, ' ')
	b = append(b, strings.Join(e.lists, ",")...)
	return append(b, '\n')
}

// journal writes names behind the queries' backs.
type journal struct {
	names *Names
	file  string
	buf   []byte
	bad   bool      // the last write was refused, and that was said
	after time.Time // until then nothing is tried again
	clock *clockWatch
}

func (j *journal) run(ctx context.Context) {
	flush, sweep := time.NewTicker(journalFlush), time.NewTicker(journalSweep)
	defer flush.Stop()
	defer sweep.Stop()
	for {
		select {
		case e := <-j.names.changed:
			if !j.bad {
				j.buf = e.append(j.buf)
			}
		case <-flush.C:
			switch set := j.clock.changed(); {
			case set, j.bad && time.Now().After(j.after):
				j.say(j.rewrite()) // what is there is dated wrongly, or half a line lies at the end
			case !j.bad && len(j.buf) > 0:
				j.say(j.write())
			}
		case <-sweep.C:
			j.names.sweep(j.names.now())
			j.say(j.rewrite())
		case <-ctx.Done():
			j.say(j.rewrite())
			return
		}
	}
}

// say logs when writing starts to be refused, and when it works again. A full disk
// must not stop an answer: the names are in memory too.
func (j *journal) say(err error) {
	switch {
	case err != nil && !j.bad:
		log.Warningf("names that listed names led to cannot be stored, a restart would forget them: %v", err)
	case err == nil && j.bad:
		log.Infof("names that listed names led to are stored again")
	}
	j.bad = err != nil
	if j.bad {
		j.buf, j.after = j.buf[:0], time.Now().Add(journalAgain) // the next rewrite has them all
	}
}

// write appends what has gathered.
func (j *journal) write() error {
	f, err := os.OpenFile(j.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(j.buf)
	if err == nil {
		j.buf = j.buf[:0]
	}
	return errors.Join(err, f.Close())
}

// rewrite replaces the file by what is in memory now.
func (j *journal) rewrite() error {
	if err := os.MkdirAll(filepath.Dir(j.file), 0o755); err != nil {
		return err
	}
	f, err := renameio.NewPendingFile(j.file, renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	w := bufio.NewWriter(f)
	var line []byte
	now := j.names.now()
	j.names.m.Range(func(name string, l ledTo) bool {
		l.until = now.Add(l.until.Sub(now)) // by the clock as it is set now
		line = named{name, l}.append(line[:0])
		_, err = w.Write(line)
		return err == nil
	})
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err == nil {
		j.buf = j.buf[:0]
	}
	return err
}
