package stream

import (
	"bufio"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// However a client cuts its bytes, the messages that are read are those with their lengths
// before them, and what is left over is none.
func FuzzNext(f *testing.F) {
	f.Add([]byte("\x00\x02ab\x00\x00\x00\x01c"), uint8(1))
	f.Add([]byte("\xff\xffabc"), uint8(2))
	f.Add([]byte{0}, uint8(0))
	f.Fuzz(func(t *testing.T, sent []byte, step uint8) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			for rest := sent; len(rest) > 0; {
				n := min(len(rest), int(step)+1)
				if _, err := theirs.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		const limit = 30 * time.Second
		c := &conn{net: ours, options: Options{ReadTimeout: limit, IdleTimeout: limit}, place: &place{}, slots: make(chan struct{}, 1)}
		c.touch()
		in := bufio.NewReaderSize(ours, readBuffer)
		for {
			got, err := c.next(in, limit)
			if err != nil {
				break
			}
			if len(sent) < len(got) || string(sent[:len(got)]) != string(got) || len(got) < 2 || int(binary.BigEndian.Uint16(got)) != len(got)-2 {
				t.Fatalf("%q of %q", got, sent)
			}
			sent = sent[len(got):]
		}
		if len(sent) >= 2 && int(binary.BigEndian.Uint16(sent)) <= len(sent)-2 {
			t.Errorf("a message was not read: %q", sent)
		}
	})
}
