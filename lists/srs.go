package lists

import (
	"bufio"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// srs is the binary form of sing-box's rule-sets, versions 1 to 5: "SRS", the
// version, and a zlib stream of the number of rules and the rules. A rule is
//
//	0, items, 0xff, inverted (1 byte)              an item is its type and its values
//	1, mode (0: and, 1: or), number, rules, inverted
//
// Lengths are unsigned varints, everything else is big-endian. What rules mean is
// told at headless.
type srs struct{}

var (
	magicSRS = []byte("SRS")
	errSRS   = errors.New("damaged rule-set")
)

// The types of items that are read; others are passed over, and narrow the rule.
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
	srsBelow         = '\r' // begins a name in the trie: what follows ends a name
	srsSuffix        = '\n' // begins a name in the trie: it, and all below it
	maxSRSName       = 64 << 10
	maxInterfaceKeys = 1 << 10
)

func (srs) name() string { return "srs" }

func (srs) suits(file string) bool { return strings.HasSuffix(file, ".srs") }

func (srs) sniff(head []byte) int {
	if len(head) >= 4 && strings.HasPrefix(string(head), string(magicSRS)) && head[3] < ' ' {
		return len(head)
	}
	return 0
}

func (srs) parse(r io.Reader, s *sink) error {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return fmt.Errorf("srs: %w", cut(err))
	}
	if string(h[:3]) != string(magicSRS) {
		return errors.New("srs: it does not begin with SRS")
	}
	if h[3] < 1 || h[3] > maxRuleSet {
		return fmt.Errorf("srs: version %d: known are 1 to %d", h[3], maxRuleSet)
	}
	z, err := zlib.NewReader(r)
	if err != nil {
		return fmt.Errorf("srs: %w", cut(err))
	}
	in := &srsReader{Reader: bufio.NewReaderSize(&inflated{in: z, left: maxInflated}, sniffed)}
	n, err := in.uvarint()
	if err != nil {
		return fmt.Errorf("srs: %w", err)
	}
	for range n {
		h, parts, err := in.rule(0)
		if err == nil {
			err = emitAll(h, parts, s)
		}
		if err != nil {
			return fmt.Errorf("srs: %w", err)
		}
	}
	switch _, err := in.ReadByte(); { // at the end the checksum is looked at
	case err == nil:
		return fmt.Errorf("srs: %w: more after the last rule", errSRS)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("srs: %w", err)
	}
	return nil
}

func (in *srsReader) rule(depth int) (h *headless, parts []*headless, err error) {
	kind, err := in.byte()
	if err != nil {
		return nil, nil, err
	}
	h = &headless{}
	switch {
	case depth > maxNested:
		return nil, nil, errHeadless
	case kind == 0:
		err = in.items(h)
	case kind == 1:
		parts, err = in.logical(h, depth)
	default:
		err = fmt.Errorf("%w: rule of type %d", errSRS, kind)
	}
	if err != nil {
		return nil, nil, err
	}
	invert, err := in.byte()
	h.invert = invert != 0
	return h, parts, err
}

func (in *srsReader) logical(h *headless, depth int) ([]*headless, error) {
	mode, err := in.byte()
	if err != nil {
		return nil, err
	}
	h.and = mode != 1
	n, err := in.uvarint()
	if err != nil {
		return nil, err
	}
	parts := []*headless{}
	total := 0
	for range n {
		part, inner, err := in.rule(depth + 1)
		if err != nil {
			return nil, err
		}
		if inner != nil && !part.invert && !part.and {
			parts = append(parts, inner...)
		} else {
			parts = append(parts, part)
		}
		if total += part.bytes + 256; total > maxHeadless {
			return nil, errHeadless
		}
	}
	return parts, nil
}

// items reads the conditions of a rule up to the end mark.
func (in *srsReader) items(h *headless) error {
	for {
		item, err := in.byte()
		if err != nil {
			return err
		}
		switch item {
		case srsFinal:
			return nil
		case srsDomain:
			err = in.domains(h)
		case srsKeyword:
			err = in.strings(func(t string) error { return h.add(entry.Keyword, t) })
		case srsRegexp:
			err = in.strings(func(t string) error { return h.add(entry.Regexp, t) })
		case srsCIDR:
			err = in.ranges(h.addPrefix)
		default:
			h.narrowed = fmt.Sprintf("condition of type %d", item)
			err = in.other(item)
		}
		if err == nil && h.bytes > maxHeadless {
			err = errHeadless
		}
		if err != nil {
			return err
		}
	}
}

func (in *srsReader) domains(h *headless) error {
	if _, err := in.byte(); err != nil { // a version that nobody has used
		return err
	}
	t, err := readSuccinct(in, in.uvarint)
	if err != nil {
		return err
	}
	var failed error
	err = t.each(func(key []byte) {
		if failed == nil {
			failed = srsName(string(key), h)
		}
	})
	return errors.Join(err, failed)
}

// srsName reads a name of the trie.
func srsName(key string, h *headless) error {
	switch {
	case key == "":
		return nil
	case key[0] == srsSuffix:
		return h.add(entry.Suffix, strings.TrimPrefix(key[1:], "."))
	case key[0] != srsBelow:
		return h.add(entry.Full, key)
	case strings.HasPrefix(key[1:], "."):
		return h.add(entry.Below, key[2:])
	}
	expr, reason := entry.Glob("*"+key[1:], false) // ends so, in the middle of a label too
	if reason != "" {
		return fmt.Errorf("%w: name %q", errSRS, printable(key))
	}
	return h.add(entry.Regexp, expr)
}
