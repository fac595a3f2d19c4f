package format

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/nameroute/nameroute/lists/entry"
)

// maxLine bounds a line, in bytes, and with it the memory that reading takes.
const maxLine = 64 << 10

const (
	reasonLongLine = "longer than 64 KiB"
	reasonUTF8     = "not UTF-8 text"
)

// eachLine calls rule for every line that is neither blank nor begins with one of the
// comment characters, trimmed, and counts it. Longer lines and lines that are no text are
// skipped.
func eachLine(r io.Reader, s *Sink, comments string, rule func(line string)) error {
	br := bufio.NewReaderSize(r, maxLine)
	for s.line = 1; ; s.line++ {
		raw, err := br.ReadSlice('\n')
		if s.line == 1 {
			raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
		}
		if long := errors.Is(err, bufio.ErrBufferFull); long {
			s.Lines++
			s.skip(string(raw[:2*entry.MaxPrintable]), reasonLongLine)
			err = discardLine(br)
		} else if raw = bytes.TrimSpace(raw); len(raw) > 0 && strings.IndexByte(comments, raw[0]) < 0 {
			s.Lines++
			if line := string(raw); !utf8.ValidString(line) || strings.IndexByte(line, 0) >= 0 {
				s.skip(line, reasonUTF8)
			} else {
				s.text = line
				rule(line)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// discardLine skips the rest of a line.
func discardLine(br *bufio.Reader) error {
	for {
		_, err := br.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// uncomment returns a line without a comment that follows white space.
func uncomment(line string) string {
	for i := 1; i < len(line); i++ {
		if line[i] == '#' && (line[i-1] == ' ' || line[i-1] == '\t') {
			return strings.TrimSpace(line[:i])
		}
	}
	return line
}
