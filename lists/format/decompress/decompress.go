// Package decompress reads files that may be compressed, within bounds on memory and on
// the size of what comes out.
package decompress

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// MaxSize bounds what a compressed file decompresses to, in bytes: the text of twenty
	// million names. The size of uncompressed files is not bounded.
	MaxSize = 512 << 20
	// maxWindow bounds the window of decompression, in bytes. `xz -9` and `zstd -19` need
	// 64 MiB and 8 MiB.
	maxWindow = 64 << 20
	// bufferSize is how much is read at once, in bytes.
	bufferSize = 16 << 10
)

// ErrTooLarge is returned for what decompresses to more than MaxSize.
var ErrTooLarge = fmt.Errorf("more than %d MiB when decompressed", MaxSize>>20)

var (
	magicGzip = []byte{0x1f, 0x8b, 8}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicXZ   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
)

// Reader returns a reader of the content of r: gzip, zstd and xz, recognized by their first
// bytes, are decompressed once, and anything else is read as it is.
func Reader(r io.Reader) (io.Reader, error) { return reader(r, MaxSize) }

// reader is Reader for content of at most so many bytes.
func reader(r io.Reader, most int64) (io.Reader, error) {
	br := bufio.NewReaderSize(r, bufferSize)
	head, err := br.Peek(len(magicXZ))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var in io.Reader
	switch {
	case bytes.HasPrefix(head, magicGzip):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", unexpected(err))
		}
		in = z
	case bytes.HasPrefix(head, magicZstd):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(uint64(most)))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		in = z
	case bytes.HasPrefix(head, magicXZ):
		in = &xzReader{in: br}
	default:
		return br, nil
	}
	return &limited{in: in, left: most}, nil
}

// Limit returns a reader of what a decompressor returns that fails with ErrTooLarge after
// MaxSize bytes.
func Limit(decompressor io.Reader) io.Reader {
	return &limited{in: decompressor, left: MaxSize}
}

type limited struct {
	in   io.Reader
	left int64
}

func (i *limited) Read(p []byte) (int, error) {
	n, err := i.in.Read(p)
	if i.left -= int64(n); i.left < 0 {
		return 0, ErrTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("decompress: %w", err)
	}
	return n, err
}

// unexpected turns the end of a file where more must follow into an error that says so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
