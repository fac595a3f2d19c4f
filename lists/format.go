package lists

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// format reads one way of writing lists. Each is one file of this package and one
// line of the table below.
type format interface {
	name() string
	// sniff says how many lines of the head of a file speak for this format. Zero
	// says that the file does not look like it.
	sniff(head []byte) int
	// suits says whether a file of this name (without folder, in lower case) usually
	// has this format. It decides where the head does not.
	suits(file string) bool
	// parse reads a whole file. It returns only errors that make the file as a whole
	// unusable; lines that mean nothing go to the sink.
	parse(r io.Reader, s *sink) error
}

// formats are all that are known, in the order in which equals are preferred. plain
// is what is left where nothing speaks for any.
var formats = [...]format{
	geosite{}, geoip{}, mrs{}, srs{}, singbox{}, // known by their first bytes
	adblock{}, autoproxy{}, dnsmasq{}, smartdns{}, hosts{}, nftset{}, delegated{}, clash{}, dlc{}, plain{},
}

// sniffed is how much of a file its format is detected from, in bytes.
const sniffed = 16 << 10

// Formats names the formats that `format:` may say.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name()
	}
	return names
}

// formatNamed finds a format; an unknown one is an error that lists those known.
func formatNamed(name string) (format, error) {
	for _, f := range formats {
		if f.name() == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("format %q: unknown; known are %s", name, strings.Join(Formats(), ", "))
}

// detect picks the format that most lines of the head speak for.
func detect(file string, head []byte) format {
	file = trimPacked(strings.ToLower(filepath.Base(file)))
	var best format = plain{}
	most := 0
	for _, f := range formats {
		if n := f.sniff(head); n > most {
			best, most = f, n
		}
	}
	if most > 0 {
		return best
	}
	if len(bytes.TrimSpace(head)) == 0 { // nothing to contradict the name
		for _, f := range formats {
			if f.suits(file) {
				return f
			}
		}
	}
	return best
}

// parse reads a list, compressed or not, in the format named, or in the one detected where the name is
// empty, and tells the sink's report which that was.
func parse(r io.Reader, file, formatName string, s *sink) error {
	unpacked, err := decompress(r)
	if err != nil {
		return err
	}
	br := bufio.NewReaderSize(unpacked, sniffed)
	head, err := br.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f := detect(file, head)
	if formatName != "" {
		if f, err = formatNamed(formatName); err != nil {
			return err
		}
	}
	s.report.Format = f.name()
	if s.selector != "" && !selective(f.name()) {
		return fmt.Errorf("%q behind the colon: a file of format %s has nothing to choose from", s.selector, f.name())
	}
	return f.parse(br, s)
}

// countLines counts the lines of a head for which a format speaks.
func countLines(head []byte, speaks func(line string) bool) int {
	n := 0
	for line := range bytes.Lines(head) {
		if speaks(string(bytes.TrimSpace(line))) {
			n++
		}
	}
	return n
}

// trimPacked takes the endings of compressed files off a file's name.
func trimPacked(file string) string {
	for _, end := range []string{".gz", ".zst", ".xz"} {
		file = strings.TrimSuffix(file, end)
	}
	return file
}

// selective tells formats of which a part is read, which stands behind a colon.
func selective(name string) bool {
	switch name {
	case "geosite", "geoip", "dlc", "delegated":
		return true
	}
	return false
}
