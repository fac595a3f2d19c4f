// Package rule is nft rules as values: their parts, as nft(8) prints them and as the kernel
// takes them.
package rule

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Rule is an nft rule: its parts in order, and a comment that says what it is for.
type Rule struct {
	Comment     string
	Parts       []Part
	KeepCounter bool // a rule with the same comment that replaces this one starts with its counter's values
}

// Part is one statement of a rule.
type Part struct {
	Text  string     // as nft(8) prints it
	Exprs []expr.Any // as the kernel takes it
}

// New makes a rule of its parts. The comment is shown by `nft list`.
func New(comment string, parts ...Part) Rule { return Rule{Comment: comment, Parts: parts} }

// String prints the rule as nft(8) does.
func (r Rule) String() string {
	words := make([]string, 0, len(r.Parts)+1)
	for _, p := range r.Parts {
		words = append(words, p.Text)
	}
	return strings.Join(append(words, fmt.Sprintf("comment %q", r.Comment)), " ")
}

// reg is the only register that is needed: NFT_REG_1, 16 bytes wide.
const reg = 1

func native32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func big16(v uint16) []byte    { return binary.BigEndian.AppendUint16(nil, v) }

func compare(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data} }
func differ(data []byte) expr.Any  { return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data} }

// and computes register & mask ^ xor.
func and(mask, xor []byte) expr.Any {
	return &expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(len(mask)), Mask: mask, Xor: xor}
}

// linkName is an interface name as the kernel compares it, padded to IFNAMSIZ.
func linkName(name string) []byte {
	return append([]byte(name), make([]byte, unix.IFNAMSIZ-len(name))...)
}
