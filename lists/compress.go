package lists

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
	// maxInflated bounds what a compressed file may become, in bytes: the text of
	// twenty million names. Uncompressed files are as large as their disk lets them.
	maxInflated = 512 << 20
	// maxWindow bounds the memory in which decompression looks back, in bytes.
	// `xz -9` and `zstd -19` need 64 MiB and 8 MiB.
	maxWindow = 64 << 20
)

var errInflated = fmt.Errorf("decompressed, it is longer than %d MiB", maxInflated>>20)

var (
	magicGzip = []byte{0x1f, 0x8b, 8}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicXZ   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
)

// decompress reads gzip, zstd and xz, known by their first bytes, and anything else
// as it is. What is compressed twice is not looked into twice.
func decompress(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, sniffed)
	head, err := br.Peek(len(magicXZ))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var in io.Reader
	switch {
	case bytes.HasPrefix(head, magicGzip):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", cut(err))
		}
		in = z
	case bytes.HasPrefix(head, magicZstd):
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxInflated))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		in = z
	case bytes.HasPrefix(head, magicXZ):
		in = &xzReader{in: br}
	default:
		return br, nil
	}
	return &inflated{in: in, left: maxInflated}, nil
}

// inflated bounds what comes out of a decompressor.
type inflated struct {
	in   io.Reader
	left int64
}

func (i *inflated) Read(p []byte) (int, error) {
	n, err := i.in.Read(p)
	if i.left -= int64(n); i.left < 0 {
		return 0, errInflated
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("decompress: %w", err)
	}
	return n, err
}

// cut turns the end of a file where more must follow into an error that says so.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
