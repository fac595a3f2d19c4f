package decompress

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads one .xz stream (xz-file-format 1.2.1). The library decodes the LZMA2
// data; its own reader of the container allocates the dictionary that a block claims to
// need, up to 4 GiB.
type xzReader struct {
	in    *bufio.Reader
	count int64     // bytes read of the block
	size  int       // of a block's check, in bytes
	sum   hash.Hash // nil: the block has no check, or one that is skipped
	block io.Reader // LZMA2 data of the block being read; nil between blocks
	began bool
	err   error
}

var errXZ = errors.New("xz: damaged")

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if errors.Is(err, io.EOF) {
			x.block = nil
			x.err = x.finish()
			err = nil
		}
		if err != nil {
			x.err = fmt.Errorf("xz: %w", unexpected(err))
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// next reads the header of a block. The index, which follows the last block, is io.EOF.
func (x *xzReader) next() error {
	if !x.began {
		if err := x.header(); err != nil {
			return err
		}
		x.began = true
	}
	size, err := x.in.ReadByte()
	if err != nil {
		return fmt.Errorf("xz: %w", unexpected(err))
	}
	if size == 0 {
		return io.EOF
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(x.in, h[1:]); err != nil {
		return fmt.Errorf("xz: %w", unexpected(err))
	}
	body := h[:len(h)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(h[len(body):]) {
		return errXZ
	}
	dict, err := xzDictionary(body)
	if err != nil {
		return err
	}
	x.count = 0
	x.block, err = lzma.Reader2Config{DictCap: dict}.NewReader2(xzCounter{x})
	return err
}

func (x *xzReader) header() error {
	var h [12]byte
	if _, err := io.ReadFull(x.in, h[:]); err != nil {
		return fmt.Errorf("xz: %w", unexpected(err))
	}
	if h[6] != 0 || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return errXZ
	}
	switch h[7] {
	case 0:
	case 1:
		x.size, x.sum = 4, crc32.NewIEEE()
	case 4:
		x.size, x.sum = 8, crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.size = 32 // SHA-256, which no list is compressed with, is not verified
	default:
		return errXZ
	}
	return nil
}

// xzDictionary returns the size of the dictionary that the header of a block asks for. LZMA2
// must be its only filter.
func xzDictionary(h []byte) (int, error) {
	flags, rest := h[1], h[2:]
	if flags&3 != 0 {
		return 0, errors.New("xz: filters other than LZMA2 are not supported")
	}
	for _, sized := range []byte{0x40, 0x80} {
		if flags&sized != 0 {
			_, n := binary.Uvarint(rest)
			if n <= 0 {
				return 0, errXZ
			}
			rest = rest[n:]
		}
	}
	if len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 40 {
		return 0, errXZ
	}
	bits := int(rest[2])
	if size := int64(2|bits&1) << (bits/2 + 11); size <= maxWindow {
		return int(size), nil
	}
	return 0, fmt.Errorf("xz: it needs a dictionary of more than %d MiB", maxWindow>>20)
}

// finish reads the padding and verifies the check that follow the data of a block.
func (x *xzReader) finish() error {
	pad := int(-x.count & 3)
	tail := make([]byte, pad+x.size)
	if _, err := io.ReadFull(x.in, tail); err != nil {
		return fmt.Errorf("xz: %w", unexpected(err))
	}
	if x.sum == nil {
		return nil
	}
	have := x.sum.Sum(nil)
	x.sum.Reset()
	for i, b := range tail[pad:] { // the check is stored with its lowest byte first
		if have[len(have)-1-i] != b {
			return errXZ
		}
	}
	return nil
}

// xzCounter counts what the LZMA2 reader reads. With ReadByte the reader consumes no more
// than the block.
type xzCounter struct{ x *xzReader }

func (c xzCounter) Read(p []byte) (int, error) {
	n, err := c.x.in.Read(p)
	c.x.count += int64(n)
	return n, err
}

func (c xzCounter) ReadByte() (byte, error) {
	b, err := c.x.in.ReadByte()
	if err == nil {
		c.x.count++
	}
	return b, err
}
