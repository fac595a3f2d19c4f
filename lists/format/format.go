// Package format reads lists in the formats that other programs use, one file a format, and
// writes them in some of these. It reads files only and never the network.
package format

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/nameroute/nameroute/lists/format/decompress"
)

// reader reads one format. Each is one file of this package and one line of formats.
type reader interface {
	name() string
	// sniff returns how many lines of the beginning of a file are typical of the format.
	// Zero means that the file does not look like it.
	sniff(head []byte) int
	// suits reports whether a file of this name (without directory, in lower case) usually
	// has this format. It decides where the beginning of the file does not.
	suits(file string) bool
	// parse reads a file. It returns only errors that make all of the file unusable; lines
	// that cannot be parsed are skipped.
	parse(r io.Reader, s *Sink) error
}

// formats are all that are known, in the order of preference among equals. plain is what is
// left where no line is typical of any.
var formats = [...]reader{
	geosite{}, geoip{}, mrs{}, srs{}, singbox{}, // known by their first bytes
	adblock{}, autoproxy{}, dnsmasq{}, smartdns{}, hosts{}, nftset{}, delegated{}, clash{}, dlcyaml{}, dlc{}, plain{},
}

// headSize is how much of a file its format is detected from, in bytes.
const headSize = 16 << 10

// Names returns the names of the formats, as `format:` takes them.
func Names() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name()
	}
	return names
}

// Plain is the name of nameroute's own format.
const Plain = "plain"

// Known returns an error that lists the known formats if name is none of them. "", which
// asks for detection, is known.
func Known(name string) error {
	if name == "" {
		return nil
	}
	_, err := named(name)
	return err
}

func named(name string) (reader, error) {
	for _, f := range formats {
		if f.name() == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("unknown format %q: want one of %s", name, strings.Join(Names(), ", "))
}

// detect returns the format that most lines of the head are typical of.
func detect(file string, head []byte) reader {
	file = trimCompressed(strings.ToLower(filepath.Base(file)))
	var best reader = plain{}
	most := 0
	for _, f := range formats {
		if n := f.sniff(head); n > most {
			best, most = f, n
		}
	}
	if most > 0 {
		return best
	}
	if len(bytes.TrimSpace(head)) == 0 { // nothing contradicts the file's name
		for _, f := range formats {
			if f.suits(file) {
				return f
			}
		}
	}
	return best
}

// parse reads a list, compressed or not, in the format of the name, or in the one detected
// if that is empty, and records the format in the sink.
func parse(r io.Reader, file, formatName string, s *Sink) error {
	content, err := decompress.Reader(r)
	if err != nil {
		return err
	}
	br := bufio.NewReaderSize(content, headSize)
	head, err := br.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f := detect(file, head)
	if formatName != "" {
		if f, err = named(formatName); err != nil {
			return err
		}
	}
	if err := isList(f.name(), head); err != nil {
		return err
	}
	s.Format = f.name()
	if s.selector != "" && !selective(f.name()) {
		if s.selector == anyPart {
			return fmt.Errorf("a file of format %s has no parts", f.name())
		}
		return fmt.Errorf("%q after the colon: a file of format %s has no parts to choose from", s.selector, f.name())
	}
	if err := f.parse(br, s); err != nil || formatName != "" || s.Format != Plain {
		return err
	}
	// What looks like no format is read as names, and so are the words of any text.
	if s.Skipped >= fewSkipped && s.Skipped > 4*s.Size() {
		return fmt.Errorf("%w: %d of %d lines are no rules, such as %v; if it is a list all the same, want format: plain", ErrNotList, s.Skipped, s.Lines, s.Samples[0])
	}
	return nil
}

// fewSkipped is how many lines of a list may be no rules, however few are.
const fewSkipped = 10

// ErrNotList is wrapped by the error of a file that is something else: what captive portals
// and broken mirrors send instead of anything.
var ErrNotList = errors.New("not a list")

// isList returns an error for web pages and for JSON that is no list.
func isList(format string, head []byte) error {
	text := bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\ufeff")))
	switch {
	case isBinary(format) || len(text) == 0:
		return nil
	case text[0] == '<':
		return fmt.Errorf("it is a web page, %w", ErrNotList)
	case text[0] == '{', text[0] == '[' && isJSONArray(text[1:]):
		return fmt.Errorf("it is JSON, such as a server's error, and %w", ErrNotList)
	}
	return nil
}

// isJSONArray reports whether a text is JSON after a '[': the headers of lists begin with one,
// too.
func isJSONArray(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && bytes.IndexByte([]byte(`{"[]`), text[0]) >= 0
}

// allIf is the result of sniff for formats that are recognized by their first bytes.
func allIf(recognized bool, head []byte) int {
	if recognized {
		return len(head)
	}
	return 0
}

// countLines returns how many lines of the head are typical of a format.
func countLines(head []byte, typical func(line string) bool) int {
	n := 0
	for line := range bytes.Lines(head) {
		if typical(string(bytes.TrimSpace(line))) {
			n++
		}
	}
	return n
}

// trimCompressed removes the endings of compressed files from a file's name.
func trimCompressed(file string) string {
	for _, end := range []string{".gz", ".zst", ".xz"} {
		file = strings.TrimSuffix(file, end)
	}
	return file
}

// selective reports whether a part of a file of this format is read, which is named after a
// colon.
func selective(name string) bool {
	switch name {
	case "geosite", "geoip", "dlc", "dlcyaml", "delegated":
		return true
	}
	return false
}

// isBinary reports whether a format has no lines.
func isBinary(name string) bool {
	switch name {
	case "geosite", "geoip", "mrs", "srs", "singbox":
		return true
	}
	return false
}
