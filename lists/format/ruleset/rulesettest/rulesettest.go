// Package rulesettest encodes rule-sets for tests, as package ruleset decodes them.
package rulesettest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

// Items of SRS.
const (
	SRSDomain     = 2
	SRSKeyword    = 3
	SRSRegexp     = 4
	SRSSourceCIDR = 5
	SRSCIDR       = 6
	SRSAdGuard    = 16
	SRSInterfaces = 21
	SRSFinal      = 0xff
)

// Trie encodes the trie of names, level by level, with lengths as a function encodes them.
func Trie(length func(b []byte, n int) []byte, names ...string) (b []byte) {
	var t struct {
		leaves, bitmap []uint64
		labels         []byte
	}
	keys := make([]string, len(names))
	for i, n := range names {
		b := []byte(n)
		slices.Reverse(b)
		keys[i] = string(b)
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	type span struct{ from, to, depth int }
	bit := 0
	put := func(words *[]uint64, i int, one bool) {
		for len(*words) <= i/64 {
			*words = append(*words, 0)
		}
		if one {
			(*words)[i/64] |= 1 << (i % 64)
		}
	}
	queue := []span{{0, len(keys), 0}}
	for node := 0; node < len(queue); node++ {
		s := queue[node]
		if len(keys[s.from]) == s.depth {
			put(&t.leaves, node, true)
			s.from++
		}
		for s.from < s.to {
			first := s.from
			for s.from < s.to && keys[s.from][s.depth] == keys[first][s.depth] {
				s.from++
			}
			t.labels = append(t.labels, keys[first][s.depth])
			put(&t.bitmap, bit, false)
			bit++
			queue = append(queue, span{first, s.from, s.depth + 1})
		}
		put(&t.bitmap, bit, true)
		bit++
	}
	for _, words := range [][]uint64{t.leaves, t.bitmap} {
		b = length(b, len(words))
		for _, w := range words {
			b = binary.BigEndian.AppendUint64(b, w)
		}
	}
	return append(length(b, len(t.labels)), t.labels...)
}

// Uvarint appends a number as SRS encodes lengths.
func Uvarint(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

// Int64 appends a number as MRS encodes lengths.
func Int64(b []byte, n int) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

// SRSTexts encodes a condition of texts.
func SRSTexts(item byte, all ...string) []byte {
	b := Uvarint([]byte{item}, len(all))
	for _, s := range all {
		b = append(Uvarint(b, len(s)), s...)
	}
	return b
}

// SRSRanges encodes a condition of address ranges, each FIRST-LAST.
func SRSRanges(item byte, ranges ...string) []byte {
	b := Int64([]byte{item, 1}, len(ranges))
	for _, r := range ranges {
		first, last, _ := strings.Cut(r, "-")
		for _, a := range []string{first, last} {
			addr := netip.MustParseAddr(a).AsSlice()
			b = append(Uvarint(b, len(addr)), addr...)
		}
	}
	return b
}

// SRSRule encodes a rule.
func SRSRule(invert byte, items ...[]byte) []byte {
	return append(append([]byte{0}, bytes.Join(items, nil)...), SRSFinal, invert)
}

// SRSFile encodes a file.
func SRSFile(version byte, rules ...[]byte) []byte {
	b := bytes.NewBuffer([]byte{'S', 'R', 'S', version})
	z := zlib.NewWriter(b)
	_, err := z.Write(append(Uvarint(nil, len(rules)), bytes.Join(rules, nil)...))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

// SRSNames encodes a condition of names.
func SRSNames(names ...string) []byte {
	return append([]byte{SRSDomain, 0}, Trie(Uvarint, names...)...)
}

// MRSFile encodes a file.
func MRSFile(behaviour byte, payload []byte) string {
	b := append([]byte("MRS\x01"), behaviour)
	b = Int64(Int64(b, 3), 0)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer z.Close()
	return string(z.EncodeAll(append(append(b, 1), payload...), nil))
}

// Domain encodes a rule of geosite.dat: type, name, attributes.
func Domain(kind uint64, name string, attributes ...string) []byte {
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, kind)
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendString(b, name)
	for _, a := range attributes {
		attr := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), a)
		attr = protowire.AppendVarint(protowire.AppendTag(attr, 2, protowire.VarintType), 1)
		b = protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), attr)
	}
	return b
}

// Dat encodes a category of geosite.dat or geoip.dat.
func Dat(category string, rules ...[]byte) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), category)
	for _, r := range rules {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), r)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), b)
}

// CIDR encodes a rule of geoip.dat.
func CIDR(p string) []byte {
	prefix := netip.MustParsePrefix(p)
	b := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), prefix.Addr().AsSlice())
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), uint64(prefix.Bits()))
}

// Geosite returns a small geosite.dat.
func Geosite() string {
	return string(Dat("NETFLIX", Domain(2, "netflix.com"), Domain(3, "only.netflix.net"), Domain(0, "nflx"), Domain(1, `^fast\d\.com$`))) +
		string(Dat("GOOGLE", Domain(2, "google.com"), Domain(2, "ads.google.com", "ads"), Domain(3, "a.google.cn", "ads", "cn"), Domain(9, "x.test"), Domain(2, "b..d"))) +
		string(Dat("GEO", Domain(2, "in.test", "!cn"), Domain(2, "out.test")))
}
