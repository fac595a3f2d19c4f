package ruleset

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/decompress"
)

const magicSRS = "SRS"

var errSRS = errors.New("damaged rule-set")

// The types of items that are known. Those that are not about names or destination addresses
// are skipped, and restrict the rule.
const (
	srsDomain        = 2
	srsKeyword       = 3
	srsRegexp        = 4
	srsSourceCIDR    = 5
	srsCIDR          = 6
	srsAdGuard       = 16
	srsNetworkType   = 18
	srsExpensive     = 19
	srsConstrained   = 20
	srsInterfaces    = 21
	srsDefaultIface  = 22
	srsFinal         = 0xff
	srsEnd           = '\r' // begins a name in the trie: names that end so
	srsSuffix        = '\n' // begins a name in the trie: the name and all below it
	maxSRSName       = 64 << 10
	maxInterfaceKeys = 1 << 10
)

// IsSRS reports whether a file that begins with head is in SRS.
func IsSRS(head []byte) bool {
	return len(head) >= 4 && strings.HasPrefix(string(head), magicSRS) && head[3] < ' '
}

// ReadSRS decodes SRS, the binary form of sing-box's rule-sets, versions 1 to 5: "SRS", the
// version, and a zlib stream of the number of rules and the rules. A rule is
//
//	0, items, 0xff, inverted (1 byte)              an item is its type and its values
//	1, mode (0: and, 1: or), number, rules, inverted
//
// Lengths are unsigned varints, everything else is big-endian.
func ReadSRS(r io.Reader, yield func(*Rule) error) error {
	if err := readSRS(r, yield); err != nil {
		return fmt.Errorf("srs: %w", err)
	}
	return nil
}

func readSRS(r io.Reader, yield func(*Rule) error) error {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return unexpected(err)
	}
	if string(h[:3]) != magicSRS {
		return errors.New("it does not begin with SRS")
	}
	if h[3] < 1 || h[3] > MaxVersion {
		return fmt.Errorf("version %d: known are 1 to %d", h[3], MaxVersion)
	}
	z, err := zlib.NewReader(r)
	if err != nil {
		return unexpected(err)
	}
	in := &srsReader{Reader: bufio.NewReaderSize(decompress.Limit(z), bufferSize)}
	n, err := in.uvarint()
	if err != nil {
		return err
	}
	for range n {
		rule, err := in.rule(0)
		if err == nil {
			err = rule.emit(yield)
		}
		if err != nil {
			return err
		}
	}
	switch _, err := in.ReadByte(); { // the end of the stream verifies its checksum
	case err == nil:
		return fmt.Errorf("%w: more after the last rule", errSRS)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// bufferSize is how much is read at once, in bytes.
const bufferSize = 16 << 10

func (in *srsReader) rule(depth int) (*Rule, error) {
	kind, err := in.byte()
	if err != nil {
		return nil, err
	}
	r := &Rule{}
	switch {
	case depth > maxNesting:
		return nil, errRuleSize
	case kind == 0:
		err = in.items(r)
	case kind == 1:
		err = in.logical(r, depth)
	default:
		err = fmt.Errorf("%w: rule of type %d", errSRS, kind)
	}
	if err != nil {
		return nil, err
	}
	invert, err := in.byte()
	r.Invert = invert != 0
	return r, err
}

func (in *srsReader) logical(r *Rule, depth int) error {
	mode, err := in.byte()
	if err != nil {
		return err
	}
	r.And = mode != 1
	n, err := in.uvarint()
	if err != nil {
		return err
	}
	r.parts = []*Rule{}
	total := 0
	for range n {
		part, err := in.rule(depth + 1)
		if err != nil {
			return err
		}
		if err := r.addPart(part, &total); err != nil {
			return err
		}
	}
	return nil
}

// items reads the conditions of a rule up to the end mark.
func (in *srsReader) items(r *Rule) error {
	for {
		item, err := in.byte()
		if err != nil {
			return err
		}
		switch item {
		case srsFinal:
			return nil
		case srsDomain:
			err = in.domains(r)
		case srsKeyword:
			err = in.strings(func(t string) error { return r.add(entry.Keyword, t) })
		case srsRegexp:
			err = in.strings(func(t string) error { return r.add(entry.Regexp, t) })
		case srsCIDR:
			err = in.ranges(r.addPrefix)
		default:
			r.Other = fmt.Sprintf("condition of type %d", item)
			err = in.skipItem(item)
		}
		if err == nil && r.bytes > maxRuleText {
			err = errRuleSize
		}
		if err != nil {
			return err
		}
	}
}

func (in *srsReader) domains(r *Rule) error {
	if _, err := in.byte(); err != nil { // a version, which has never been used
		return err
	}
	t, err := readTrie(in, in.uvarint)
	if err != nil {
		return err
	}
	var failed error
	err = t.each(func(key []byte) {
		if failed == nil {
			failed = addSRSName(string(key), r)
		}
	})
	return errors.Join(err, failed)
}

// addSRSName adds a name of the trie to a rule.
func addSRSName(key string, r *Rule) error {
	switch {
	case key == "":
		return nil
	case key[0] == srsSuffix:
		return r.add(entry.Suffix, strings.TrimPrefix(key[1:], "."))
	case key[0] != srsEnd:
		return r.add(entry.Full, key)
	case strings.HasPrefix(key[1:], "."):
		return r.add(entry.Below, key[2:])
	}
	expr, reason := entry.Glob("*"+key[1:], false) // ends so, in the middle of a label too
	if reason != "" {
		return fmt.Errorf("%w: name %q", errSRS, entry.Printable(key))
	}
	return r.add(entry.Regexp, expr)
}
