package lists

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// maxLine bounds a line, in bytes, so that no input makes us hold more than that.
const maxLine = 64 << 10

const (
	reasonLongLine = "longer than 64 KiB"
	reasonUTF8     = "not UTF-8 text"
)

// eachLine calls rule for every line that is neither blank nor begins with one of
// the comment characters, trimmed, and counts it. Longer lines and lines that are
// no text are skipped with a reason.
func eachLine(r io.Reader, s *sink, comments string, rule func(line string)) error {
	br := bufio.NewReaderSize(r, maxLine)
	for s.line = 1; ; s.line++ {
		raw, err := br.ReadSlice('\n')
		if s.line == 1 {
			raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
		}
		if long := errors.Is(err, bufio.ErrBufferFull); long {
			s.report.Lines++
			s.skip(string(raw[:2*maxSampleText]), reasonLongLine)
			err = discardLine(br)
		} else if raw = bytes.TrimSpace(raw); len(raw) > 0 && strings.IndexByte(comments, raw[0]) < 0 {
			s.report.Lines++
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

// discardLine reads to the end of a line without keeping it.
func discardLine(br *bufio.Reader) error {
	for {
		_, err := br.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// uncomment cuts a comment that stands after white space.
func uncomment(line string) string {
	for i := 1; i < len(line); i++ {
		if line[i] == '#' && (line[i-1] == ' ' || line[i-1] == '\t') {
			return strings.TrimSpace(line[:i])
		}
	}
	return line
}
