package ruleset

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

const (
	magicMRS    = "MRS\x01"
	maxMRSExtra = 64 << 10
)

var errMRS = errors.New("damaged mrs file")

// IsMRS reports whether a file that begins with head is an MRS file of the known version.
func IsMRS(head []byte) bool { return strings.HasPrefix(string(head), magicMRS) }

// ReadMRS decodes mihomo's binary rule-providers of behaviour domain or ipcidr, calling
// name for each name as a rule-provider in text has it, and addresses for each range of
// addresses. The file is a zstd stream, which the caller has decompressed, of
//
//	"MRS" 1, behaviour (1 byte), number of rules, length of what follows and is unknown (both int64)
//	domain:  1, leaves, bitmap and labels of a trie, each preceded by its number (int64)
//	ipcidr:  1, number of ranges (int64), first and last address of each (16 bytes each)
//
// All numbers are big-endian. The names are those of a rule-provider in text, but for
// +.name, which stands for the names below alone: mihomo writes name beside it for +.name
// of the provider, and not for .name.
func ReadMRS(r io.Reader, name func(string), addresses func(first, last netip.Addr)) error {
	if err := readMRS(bufio.NewReaderSize(r, bufferSize), name, addresses); err != nil {
		return fmt.Errorf("mrs: %w", err)
	}
	return nil
}

func readMRS(in *bufio.Reader, name func(string), addresses func(first, last netip.Addr)) error {
	var h struct {
		Magic     [4]byte
		Behaviour uint8
		Rules     int64
		Extra     int64
	}
	if err := binary.Read(in, binary.BigEndian, &h); err != nil {
		return unexpected(err)
	}
	if string(h.Magic[:]) != magicMRS || h.Extra < 0 || h.Extra > maxMRSExtra {
		return errMRS
	}
	if _, err := in.Discard(int(h.Extra)); err != nil {
		return unexpected(err)
	}
	if version, err := in.ReadByte(); err != nil || version != 1 {
		return errors.Join(errMRS, unexpected(err))
	}
	length := func() (uint64, error) {
		var b [8]byte
		_, err := io.ReadFull(in, b[:])
		return binary.BigEndian.Uint64(b[:]), unexpected(err)
	}
	switch h.Behaviour {
	case 0:
		t, err := readTrie(in, length)
		if err != nil {
			return err
		}
		return t.each(func(key []byte) { name(string(key)) })
	case 1:
		return readMRSRanges(in, length, addresses)
	}
	return fmt.Errorf("%w: behaviour %d", errMRS, h.Behaviour)
}

func readMRSRanges(in io.Reader, length func() (uint64, error), addresses func(first, last netip.Addr)) error {
	n, err := length()
	if err != nil {
		return err
	}
	for range n {
		var b [2][16]byte
		if err := binary.Read(in, binary.BigEndian, &b); err != nil {
			return unexpected(err)
		}
		addresses(netip.AddrFrom16(b[0]), netip.AddrFrom16(b[1]))
	}
	return nil
}
