package lists

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// protoReader reads protobuf messages field by field, without holding more than one
// small message. Lengths nest: a field that claims to reach behind the message
// around it is damage.
type protoReader struct {
	in   *bufio.Reader
	left []int64 // bytes left of the messages being read; the file itself has no bound
}

var errProto = errors.New("damaged protobuf")

// maxSmall bounds a message that is held: one rule, in bytes.
const maxSmall = 64 << 10

// tag reads the next field's number and type. io.EOF is the end of the message.
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
			return 0, cut(err)
		}
		b[i] = c
		if c < 0x80 {
			v, n := protowire.ConsumeVarint(b[:i+1])
			if n < 0 {
				return 0, errProto
			}
			return v, p.take(int64(n))
		}
	}
	return 0, errProto
}

// take counts bytes off the messages around.
func (p *protoReader) take(n int64) error {
	for i := range p.left {
		if p.left[i] -= n; p.left[i] < 0 {
			return errProto
		}
	}
	return nil
}

// length reads the length of a field of bytes; it fits into what is around it.
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

// enter begins a message inside; leave ends it.
func (p *protoReader) enter() error {
	n, err := p.length()
	if err == nil {
		p.left = append(p.left, n)
	}
	return err
}

func (p *protoReader) leave() { p.left = p.left[:len(p.left)-1] }

// skipRest passes over what is left of the message.
func (p *protoReader) skipRest() error { return p.discard(p.left[len(p.left)-1]) }

func (p *protoReader) discard(n int64) error {
	for n > 0 {
		k := min(n, 1<<30)
		if _, err := p.in.Discard(int(k)); err != nil {
			return cut(err)
		}
		if err := p.take(k); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// skip passes over a field's value.
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
	return errProto // groups are in none of our files
}

// bytes reads a small field whole.
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
		return nil, cut(err)
	}
	return b, p.take(n)
}

// maxCategories bounds the names of categories that are remembered to name the nearest.
const maxCategories = 20_000

// eachInCategory reads a v2fly file, which is entries (field 1) that begin with
// their category's name (field 1) and go on with rules (field 2), and calls rule for
// each rule of the category.
func eachInCategory(in *bufio.Reader, category string, rule func(message []byte) error, rest func(*protoReader, protowire.Number, protowire.Type) error) error {
	p := &protoReader{in: in}
	found := false
	var names []string
	for {
		n, t, err := p.tag()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if n != 1 || t != protowire.BytesType {
			return errProto
		}
		name, err := p.category(category, rule, rest)
		if err != nil {
			return err
		}
		if strings.EqualFold(name, category) {
			found = true
		} else if len(names) < maxCategories {
			names = append(names, name)
		}
	}
	if found {
		return nil
	}
	return unknownCategory(category, names)
}

func (p *protoReader) category(want string, rule func([]byte) error, rest func(*protoReader, protowire.Number, protowire.Type) error) (name string, err error) {
	if err := p.enter(); err != nil {
		return "", err
	}
	defer p.leave()
	for {
		n, t, err := p.tag()
		if errors.Is(err, io.EOF) {
			return name, nil
		}
		switch {
		case err != nil:
			return name, err
		case n == 1 && t == protowire.BytesType && name == "":
			b, err := p.bytes()
			if err != nil {
				return "", err
			}
			if name = string(b); !strings.EqualFold(name, want) {
				return name, p.skipRest()
			}
		case n == 2 && t == protowire.BytesType:
			if name == "" {
				return "", fmt.Errorf("%w: rules before their category's name", errProto)
			}
			b, err := p.bytes()
			if err == nil {
				err = rule(b)
			}
			if err != nil {
				return name, err
			}
		default:
			if err := rest(p, n, t); err != nil {
				return name, err
			}
		}
	}
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
