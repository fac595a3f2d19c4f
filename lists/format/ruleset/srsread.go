package ruleset

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"github.com/nameroute/nameroute/lists/entry"
)

// srsReader decodes the elements of SRS.
type srsReader struct{ *bufio.Reader }

func (in *srsReader) uvarint() (uint64, error) {
	v, err := binary.ReadUvarint(in)
	return v, unexpected(err)
}

// count reads a number of at most most.
func (in *srsReader) count(most uint64) (uint64, error) {
	n, err := in.uvarint()
	if err == nil && n > most {
		err = fmt.Errorf("%w: a length of %d", errSRS, n)
	}
	return n, err
}

func (in *srsReader) byte() (byte, error) {
	b, err := in.ReadByte()
	return b, unexpected(err)
}

// skipItem skips a condition that is not about names or destination addresses.
func (in *srsReader) skipItem(item byte) error {
	switch item {
	case 0, 7, 9: // query types and ports, two bytes each
		return in.skipNumbers(2)
	case 1, 8, 10, 11, 12, 13, 14, 15, 17, 23: // texts
		return in.strings(func(string) error { return nil })
	case srsAdGuard:
		return in.domains(&Rule{})
	case srsSourceCIDR:
		return in.ranges(func(netip.Prefix) {})
	case srsNetworkType:
		return in.skipNumbers(1)
	case srsExpensive, srsConstrained:
		return nil
	case srsInterfaces:
		return in.skipInterfaces()
	case srsDefaultIface:
		return in.skipPrefixes()
	}
	return fmt.Errorf("%w: condition of type %d", errSRS, item)
}

func (in *srsReader) skipNumbers(size uint64) error {
	n, err := in.count(maxNodes)
	if err != nil {
		return err
	}
	_, err = in.Discard(int(n * size))
	return unexpected(err)
}

func (in *srsReader) strings(add func(string) error) error {
	n, err := in.uvarint()
	if err != nil {
		return err
	}
	for range n {
		text, err := in.bytes()
		if err != nil {
			return err
		}
		if err := add(string(text)); err != nil {
			return err
		}
	}
	return nil
}

func (in *srsReader) bytes() ([]byte, error) {
	n, err := in.count(maxSRSName)
	if err != nil {
		return nil, err
	}
	return readBytes(in, int(n))
}

func (in *srsReader) ranges(add func(netip.Prefix)) error {
	version, err := in.byte()
	if err != nil {
		return err
	}
	if version != 1 {
		return fmt.Errorf("%w: addresses of version %d", errSRS, version)
	}
	var b [8]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return unexpected(err)
	}
	for range binary.BigEndian.Uint64(b[:]) {
		first, err := in.addr()
		if err != nil {
			return err
		}
		last, err := in.addr()
		if err != nil {
			return err
		}
		if !entry.EachPrefix(first, last, add) {
			return fmt.Errorf("%w: %s to %s: %s", errSRS, first, last, entry.ReasonRange)
		}
	}
	return nil
}

func (in *srsReader) addr() (netip.Addr, error) {
	b, err := in.bytes()
	if err != nil {
		return netip.Addr{}, err
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return a, fmt.Errorf("%w: an address of %d bytes", errSRS, len(b))
	}
	return a, nil
}

func (in *srsReader) skipInterfaces() error {
	n, err := in.count(maxInterfaceKeys)
	if err != nil {
		return err
	}
	for range n {
		if _, err := in.byte(); err != nil {
			return err
		}
		if err := in.skipPrefixes(); err != nil {
			return err
		}
	}
	return nil
}

func (in *srsReader) skipPrefixes() error {
	n, err := in.uvarint()
	if err != nil {
		return err
	}
	for range n {
		if _, err := in.addr(); err != nil {
			return err
		}
		if _, err := in.byte(); err != nil {
			return err
		}
	}
	return nil
}
