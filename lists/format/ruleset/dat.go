package ruleset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nameroute/nameroute/gateway/pkg/problem"
)

// IsGeosite reports whether the beginning of a file looks like geosite.dat.
func IsGeosite(head []byte) bool { return isDat(head, 0x08, 0x12) }

// IsGeoIP reports whether the beginning of a file looks like geoip.dat.
func IsGeoIP(head []byte) bool { return isDat(head, 0x0a) }

// isDat tells v2fly's two files apart by the first tag in their first rule.
func isDat(head []byte, first ...byte) bool {
	entry, _, ok := datField(head, 0x0a)
	if !ok {
		return false
	}
	name, entry, ok := datField(entry, 0x0a)
	if !ok || len(name) == 0 || !utf8.Valid(name) || bytes.ContainsAny(name, "\n\r") {
		return false
	}
	if len(entry) > 1 && entry[0] == 0x12 {
		rule, _, ok := datField(entry, 0x12)
		return ok && len(rule) > 0 && bytes.IndexByte(first, rule[0]) >= 0
	}
	return false
}

// datField returns the value of a field of bytes, as far as the head reaches.
func datField(head []byte, tag byte) (value, rest []byte, ok bool) {
	if len(head) < 2 || head[0] != tag {
		return nil, nil, false
	}
	n, k := protowire.ConsumeVarint(head[1:])
	if k < 0 {
		return nil, nil, false
	}
	head = head[1+k:]
	n = min(n, uint64(len(head)))
	return head[:n], head[n:], true
}

// Domain is a rule of geosite.dat.
type Domain struct {
	Type       uint64 // Plain, Regex, Domain or Full: 0 to 3
	Text       string
	Attributes []string
}

// ReadGeosite decodes v2fly's geosite.dat, calling yield for each rule of a category.
func ReadGeosite(r io.Reader, category string, yield func(Domain) error) error {
	err := eachInCategory(bufio.NewReaderSize(r, bufferSize), category, func(m []byte) error {
		d, err := readDomain(m)
		if err != nil {
			return err
		}
		return yield(d)
	}, skipField)
	if err != nil {
		return fmt.Errorf("geosite: %w", err)
	}
	return nil
}

func skipField(p *protoReader, _ protowire.Number, t protowire.Type) error { return p.skip(t) }

// readDomain decodes Domain{type = 1, value = 2, attribute = 3 {key = 1}}.
func readDomain(m []byte) (d Domain, err error) {
	var inner error
	err = eachField(m, func(n protowire.Number, t protowire.Type, v uint64, b []byte) {
		switch {
		case n == 1 && t == protowire.VarintType:
			d.Type = v
		case n == 2 && t == protowire.BytesType:
			d.Text = string(b)
		case n == 3 && t == protowire.BytesType:
			err := eachField(b, func(n protowire.Number, t protowire.Type, _ uint64, b []byte) {
				if n == 1 && t == protowire.BytesType {
					d.Attributes = append(d.Attributes, string(b))
				}
			})
			inner = errors.Join(inner, err)
		}
	})
	return d, errors.Join(err, inner)
}

// ReadGeoIP decodes v2fly's geoip.dat, calling yield for each prefix of a country: its
// address, which may have any length, and the number of its bits.
func ReadGeoIP(r io.Reader, country string, yield func(ip []byte, bits uint64)) error {
	err := eachInCategory(bufio.NewReaderSize(r, bufferSize), country, func(m []byte) error {
		var ip []byte
		var bits uint64
		if err := eachField(m, func(n protowire.Number, t protowire.Type, v uint64, b []byte) {
			switch {
			case n == 1 && t == protowire.BytesType:
				ip = b
			case n == 2 && t == protowire.VarintType:
				bits = v
			}
		}); err != nil {
			return err
		}
		yield(ip, bits)
		return nil
	}, func(p *protoReader, n protowire.Number, t protowire.Type) error {
		if n != 3 || t != protowire.VarintType {
			return p.skip(t)
		}
		if v, err := p.varint(); err != nil || v == 0 {
			return err
		}
		return errors.New("the country means all addresses but its own, which a list of prefixes cannot express")
	})
	if err != nil {
		return fmt.Errorf("geoip: %w", err)
	}
	return nil
}

// maxCategories bounds the names of categories that are kept to suggest one.
const maxCategories = 20_000

// eachInCategory decodes a v2fly file: entries (field 1) that begin with the name of their
// category (field 1) and continue with rules (field 2). It calls rule for each rule of the
// category, and rest at each other field of it.
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
	return UnknownCategory(category, names)
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

// UnknownCategoryError is the error for a category that a file or directory does not have.
type UnknownCategoryError struct {
	Name  string
	Known []string // those that there are
}

func (e *UnknownCategoryError) Error() string {
	switch near := problem.Nearest(e.Name, e.Known); {
	case len(e.Known) == 0:
		return fmt.Sprintf("category %q: unknown; there are none", e.Name)
	case near == "":
		return fmt.Sprintf("category %q: unknown; there are %d others: `nameroute lists categories` shows them", e.Name, len(e.Known))
	default:
		return fmt.Sprintf("category %q: unknown; the nearest of %d is %q", e.Name, len(e.Known), strings.ToLower(near))
	}
}

// UnknownCategory returns an UnknownCategoryError.
func UnknownCategory(name string, known []string) error {
	return &UnknownCategoryError{name, known}
}
