package index

import (
	"encoding/binary"
	"math/bits"

	"github.com/nameroute/nameroute/lists/entry"
)

// folded is a query name as it is looked up: lower case, escapes resolved, no trailing dot.
// A dot inside a label (written \. or \046) is the byte 0, which no entry contains.
type folded struct {
	b    [256 + 8]byte // zero after n: hashing reads eight bytes at a time
	dots [256 / 64]uint64
	n    int
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// fold folds a name in presentation form. It returns false if it is no name.
func (f *folded) fold(name string) bool {
	if len(name) > entry.MaxName+1 { // a name only if it has escapes
		return f.unescape(name)
	}
	n := copy(f.b[:], name)
	for i := 0; i < n; i += 8 {
		x := binary.LittleEndian.Uint64(f.b[i:])
		if y := x ^ '\\'*ones; (y-ones)&^y&highs != 0 {
			*f = folded{}
			return f.unescape(name)
		}
		// 0x20 where the byte is an ASCII capital: both sums stay below 0x100.
		low := x &^ highs
		upper := ((low + (0x80-'A')*ones) &^ (low + (0x80-'Z'-1)*ones)) & highs &^ x
		binary.LittleEndian.PutUint64(f.b[i:], x|upper>>2)
		// The highest bit of each byte that is a dot, and those gathered in eight bits.
		y := x ^ '.'*ones
		dots := ^(((y &^ highs) + ^uint64(highs)) | y) & highs
		f.dots[i/64] |= dots >> 7 * 0x0102040810204080 >> 56 << (i % 64)
	}
	if n > 0 && f.b[n-1] == '.' {
		n--
		f.b[n] = 0
		f.dots[n/64] &^= 1 << (n % 64)
	}
	f.n = n
	return n > 0 && n <= entry.MaxName
}

// labelStart returns where the label begins that ends at end.
func (f *folded) labelStart(end int) int {
	if end == 0 {
		return 0
	}
	w := (end - 1) / 64
	left := f.dots[w] << (63 - (end-1)%64) // those before end
	for left == 0 {
		if w == 0 {
			return 0
		}
		w--
		left, end = f.dots[w], 64*(w+1)
	}
	return end - bits.LeadingZeros64(left)
}

// unescape is fold for names with backslashes (RFC 1035 5.1).
func (f *folded) unescape(name string) bool {
	n := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '.' && i == len(name)-1:
			continue
		case c == '\\':
			var ok bool
			if c, i, ok = escaped(name, i+1); !ok {
				return false
			}
			if c == '.' {
				c = 0
			}
		}
		if n == entry.MaxName {
			return false
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c == '.' {
			f.dots[n/64] |= 1 << (n % 64)
		}
		f.b[n] = c
		n++
	}
	f.n = n
	return n > 0
}

// escaped decodes what follows a backslash, three decimal digits or one character, and
// returns the index of its last byte.
func escaped(name string, i int) (c byte, last int, ok bool) {
	if i >= len(name) {
		return 0, i, false
	}
	if name[i] < '0' || name[i] > '9' {
		return name[i], i, true
	}
	if i+2 >= len(name) {
		return 0, i, false
	}
	v := 0
	for _, d := range []byte(name[i : i+3]) {
		if d < '0' || d > '9' {
			return 0, i, false
		}
		v = v*10 + int(d-'0')
	}
	return byte(v), i + 2, v <= 255
}
