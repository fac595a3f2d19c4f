package lists

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/nameroute/nameroute/lists/entry"
)

// mrs is mihomo's binary rule-provider, behaviours domain and ipcidr. The file is a
// zstd stream, which is unpacked before it comes here, of
//
//	"MRS" 1, behaviour (1 byte), number of rules, length of what is to come and unknown (both int64)
//	domain:  1, leaves, bitmap and labels of a trie, each behind its number (int64)
//	ipcidr:  1, number of ranges (int64), first and last address of each (16 bytes each)
//
// All numbers are big-endian. The names are those of a rule-provider in text, but for
// +.name, which stands for the names below alone: mihomo writes name beside it where the
// provider has +.name, and not where it has .name.
type mrs struct{}

var (
	magicMRS = []byte("MRS\x01")
	errMRS   = errors.New("damaged mrs file")
)

func (mrs) name() string { return "mrs" }

func (mrs) suits(file string) bool { return strings.HasSuffix(file, ".mrs") }

func (mrs) sniff(head []byte) int {
	if strings.HasPrefix(string(head), string(magicMRS)) {
		return len(head)
	}
	return 0
}

func (mrs) parse(r io.Reader, s *sink) error {
	if err := parseMRS(bufio.NewReaderSize(r, sniffed), s); err != nil {
		return fmt.Errorf("mrs: %w", err)
	}
	return nil
}

func parseMRS(in *bufio.Reader, s *sink) error {
	var h struct {
		Magic     [4]byte
		Behaviour uint8
		Rules     int64
		Extra     int64
	}
	if err := binary.Read(in, binary.BigEndian, &h); err != nil {
		return cut(err)
	}
	if string(h.Magic[:]) != string(magicMRS) || h.Extra < 0 || h.Extra > maxSmall {
		return errMRS
	}
	if _, err := in.Discard(int(h.Extra)); err != nil {
		return cut(err)
	}
	if version, err := in.ReadByte(); err != nil || version != 1 {
		return errors.Join(errMRS, cut(err))
	}
	length := func() (uint64, error) {
		var b [8]byte
		_, err := io.ReadFull(in, b[:])
		return binary.BigEndian.Uint64(b[:]), cut(err)
	}
	switch h.Behaviour {
	case 0:
		t, err := readSuccinct(in, length)
		if err != nil {
			return err
		}
		return t.each(func(key []byte) {
			s.line++
			s.report.Lines++
			s.text = string(key)
			mrsName(s.text, s)
		})
	case 1:
		return mrsRanges(in, length, s)
	}
	return fmt.Errorf("%w: behaviour %d", errMRS, h.Behaviour)
}

func mrsName(name string, s *sink) {
	below, ok := strings.CutPrefix(name, "+.")
	if ok && !strings.Contains(below, "*") {
		s.typed(entry.Below, below)
		return
	}
	clashDomain(name, s)
}

func mrsRanges(in io.Reader, length func() (uint64, error), s *sink) error {
	n, err := length()
	if err != nil {
		return err
	}
	for range n {
		var b [2][16]byte
		if err := binary.Read(in, binary.BigEndian, &b); err != nil {
			return cut(err)
		}
		s.line++
		s.report.Lines++
		first, last := netip.AddrFrom16(b[0]), netip.AddrFrom16(b[1])
		s.text = first.String() + "-" + last.String()
		if !eachPrefix(first, last, s.entryPrefix) {
			s.skip(s.text, reasonRange)
		}
	}
	return nil
}
