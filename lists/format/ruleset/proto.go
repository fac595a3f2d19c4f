package ruleset

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

// protoReader decodes protobuf messages field by field and holds no more than one small
// message. A field that claims to end after the message that encloses it is damage.
type protoReader struct {
	in   *bufio.Reader
	left []int64 // bytes left of each enclosing message, outermost first; the file itself has no bound
}

var errProto = errors.New("damaged protobuf")

// maxSmall bounds a message that is held: one rule, in bytes.
const maxSmall = 64 << 10

// tag reads the number and type of the next field. io.EOF is the end of the message.
func (p *protoReader) tag() (protowire.Number, protowire.Type, error) {
	if len(p.left) > 0 && p.left[len(p.left)-1] == 0 {
		return 0, 0, io.EOF
	}
	if len(p.left) == 0 {
		if _, err := p.in.Peek(1); err != nil {
			return 0, 0, err
		}
	}
	v, err := p.varint()
	if err != nil {
		return 0, 0, err
	}
	n, t := protowire.DecodeTag(v)
	if n < protowire.MinValidNumber {
		return 0, 0, errProto
	}
	return n, t, nil
}

func (p *protoReader) varint() (uint64, error) {
	var b [10]byte
	for i := range b {
		c, err := p.in.ReadByte()
		if err != nil {
			return 0, unexpected(err)
		}
		b[i] = c
		if c < 0x80 {
			v, n := protowire.ConsumeVarint(b[:i+1])
			if n < 0 {
				return 0, errProto
			}
			return v, p.consume(int64(n))
		}
	}
	return 0, errProto
}

// consume counts n bytes as read of the enclosing messages.
func (p *protoReader) consume(n int64) error {
	for i := range p.left {
		if p.left[i] -= n; p.left[i] < 0 {
			return errProto
		}
	}
	return nil
}

// length reads the length of a field of bytes, which the enclosing message must have room for.
func (p *protoReader) length() (int64, error) {
	v, err := p.varint()
	if err != nil {
		return 0, err
	}
	if v > 1<<40 || len(p.left) > 0 && int64(v) > p.left[len(p.left)-1] {
		return 0, errProto
	}
	return int64(v), nil
}

// enter begins an embedded message; leave ends it.
func (p *protoReader) enter() error {
	n, err := p.length()
	if err == nil {
		p.left = append(p.left, n)
	}
	return err
}

func (p *protoReader) leave() { p.left = p.left[:len(p.left)-1] }

// skipRest skips the rest of the message.
func (p *protoReader) skipRest() error { return p.discard(p.left[len(p.left)-1]) }

func (p *protoReader) discard(n int64) error {
	for n > 0 {
		k := min(n, 1<<30)
		if _, err := p.in.Discard(int(k)); err != nil {
			return unexpected(err)
		}
		if err := p.consume(k); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// skip skips the value of a field.
func (p *protoReader) skip(t protowire.Type) error {
	switch t {
	case protowire.VarintType:
		_, err := p.varint()
		return err
	case protowire.Fixed32Type:
		return p.discard(4)
	case protowire.Fixed64Type:
		return p.discard(8)
	case protowire.BytesType:
		n, err := p.length()
		if err != nil {
			return err
		}
		return p.discard(n)
	}
	return errProto // groups, which no such file has
}

// bytes returns the value of a small field.
func (p *protoReader) bytes() ([]byte, error) {
	n, err := p.length()
	if err != nil {
		return nil, err
	}
	if n > maxSmall {
		return nil, fmt.Errorf("%w: a rule of %d bytes", errProto, n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.in, b); err != nil {
		return nil, unexpected(err)
	}
	return b, p.consume(n)
}

// eachField calls field for every field of a message that is held.
func eachField(message []byte, field func(n protowire.Number, t protowire.Type, v uint64, b []byte)) error {
	for len(message) > 0 {
		n, t, k := protowire.ConsumeTag(message)
		if k < 0 {
			return errProto
		}
		message = message[k:]
		var v uint64
		var b []byte
		switch t {
		case protowire.VarintType:
			v, k = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			b, k = protowire.ConsumeBytes(message)
		default:
			k = protowire.ConsumeFieldValue(n, t, message)
		}
		if k < 0 {
			return errProto
		}
		field(n, t, v, b)
		message = message[k:]
	}
	return nil
}
