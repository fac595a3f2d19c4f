package framing

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"
)

// written is a connection that has only what the resolver wrote, in pieces of any size.
type written struct {
	net.Conn
	in    io.Reader
	piece int
}

func (w written) Read(b []byte) (int, error) { return w.in.Read(b[:min(len(b), w.piece)]) }

// FuzzStream: messages are those that were framed, whatever comes, and what is cut short is
// an error and no message.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x00\x03abc\x00\x00\x00\x01x"), byte(1))
	f.Add([]byte("\xff\xffabc"), byte(7))
	f.Add([]byte("\x00"), byte(0))
	f.Fuzz(func(t *testing.T, in []byte, piece byte) {
		s := NewStream(written{in: bytes.NewReader(in), piece: int(piece) + 1}, time.Second)
		for rest := in; ; {
			msg, err := s.Read()
			if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
				if err == nil {
					t.Fatalf("%x was read of %x", msg, rest)
				}
				return
			}
			n := 2 + int(binary.BigEndian.Uint16(rest))
			if err != nil || !bytes.Equal(msg, rest[2:n]) {
				t.Fatalf("%x, %v were read of %x", msg, err, rest)
			}
			rest = rest[n:]
		}
	})
}
