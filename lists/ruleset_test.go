package lists

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/nameroute/nameroute/lists/entry"
)

// trieOf builds the trie of names as succinct describes it: level by level.
func trieOf(names ...string) (t succinct) {
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
	return t
}

// encode writes the three parts, with lengths as a function writes them.
func (t succinct) encode(length func(b []byte, n int) []byte) (b []byte) {
	for _, words := range [][]uint64{t.leaves, t.bitmap} {
		b = length(b, len(words))
		for _, w := range words {
			b = binary.BigEndian.AppendUint64(b, w)
		}
	}
	return append(length(b, len(t.labels)), t.labels...)
}

func uvarint(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

func int64s(b []byte, n int) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) }

func texts(item byte, all ...string) []byte {
	b := uvarint([]byte{item}, len(all))
	for _, s := range all {
		b = append(uvarint(b, len(s)), s...)
	}
	return b
}

func srsRanges(item byte, ranges ...string) []byte {
	b := int64s([]byte{item, 1}, len(ranges))
	for _, r := range ranges {
		first, last, _ := strings.Cut(r, "-")
		for _, a := range []string{first, last} {
			addr := netip.MustParseAddr(a).AsSlice()
			b = append(uvarint(b, len(addr)), addr...)
		}
	}
	return b
}

func srsRule(invert byte, items ...[]byte) []byte {
	return append(append([]byte{0}, bytes.Join(items, nil)...), srsFinal, invert)
}

func srsFile(version byte, rules ...[]byte) []byte {
	b := bytes.NewBuffer([]byte{'S', 'R', 'S', version})
	z := zlib.NewWriter(b)
	_, err := z.Write(append(uvarint(nil, len(rules)), bytes.Join(rules, nil)...))
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func srsNames(names ...string) []byte {
	return append([]byte{srsDomain, 0}, trieOf(names...).encode(uvarint)...)
}

func TestSRS(t *testing.T) {
	full := srsRule(0, srsNames("full.test", "\r.below.test", "\nsuffix.test", "\rend.test"),
		texts(srsKeyword, "key"), texts(srsRegexp, `^r\d`), srsRanges(srsCIDR, "192.0.2.0-192.0.2.255", "2001:db8::-2001:db8::ffff"))
	want := "full:full.test below:below.test suffix:suffix.test regexp:end\\.test$ keyword:key regexp:^r\\d 192.0.2.0/24 2001:db8::/112"
	or := bytes.Join([][]byte{{1, 1, 2}, srsRule(0, srsNames("a.test")), srsRule(0, texts(srsKeyword, "bb")), {0}}, nil)
	and := bytes.Join([][]byte{{1, 0, 2}, srsRule(0, srsNames("a.test")), srsRule(1, texts(srsKeyword, "bb")), {0}}, nil)
	for _, tt := range []struct {
		name    string
		version byte
		rules   [][]byte
		want    string
	}{
		{"all that can be said", 1, [][]byte{full}, want},
		{"version 4", 4, [][]byte{full}, want},
		{"inverted", 2, [][]byte{srsRule(1, srsNames("a.test"))}, "! " + reasonInvert},
		{"ports", 2, [][]byte{srsRule(0, srsNames("a.test"), []byte{9, 1, 0, 80})}, "! it holds for some packets only (condition of type 9)"},
		{"sources", 2, [][]byte{srsRule(0, srsNames("a.test"), srsRanges(srsSourceCIDR, "10.0.0.0-10.0.0.1"))}, "! it holds for some packets only (condition of type 5)"},
		{"interfaces", 4, [][]byte{srsRule(0, []byte{srsInterfaces, 1, 0, 1, 4, 10, 0, 0, 0, 8}), srsRule(0, srsNames("a.test"))},
			"full:a.test ! it holds for some packets only (condition of type 21)"},
		{"adguard", 3, [][]byte{srsRule(0, append([]byte{srsAdGuard, 0}, trieOf("x").encode(uvarint)...)), srsRule(0, srsNames("a.test"))},
			"full:a.test ! it holds for some packets only (condition of type 16)"},
		{"or", 2, [][]byte{or}, "full:a.test keyword:bb"},
		{"and", 2, [][]byte{and}, "! " + reasonAnd},
		{"nothing", 2, [][]byte{srsRule(0)}, "! " + reasonNoCondition},
	} {
		got, r, err := readSelected(t, "x.srs", string(srsFile(tt.version, tt.rules...)), "")
		for _, s := range r.Samples {
			got = strings.TrimPrefix(got+" ! "+s.Reason, " ")
		}
		if err != nil || sortedWords(got) != sortedWords(tt.want) || r.Format != "srs" {
			t.Errorf("%s: %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
}

func sortedWords(s string) string {
	w := strings.Fields(s)
	slices.Sort(w)
	return strings.Join(w, " ")
}

// Every trie gives back what went in.
func TestSuccinct(t *testing.T) {
	for n := 1; n < 300; n += 7 {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("n%d.x%d.test", i, i%5), fmt.Sprintf("x%d.test", i%5))
		}
		tr := trieOf(names...)
		var got []string
		if err := tr.each(func(k []byte) { got = append(got, string(k)) }); err != nil {
			t.Fatal(err)
		}
		slices.Sort(names)
		slices.Sort(got)
		if !slices.Equal(got, slices.Compact(names)) {
			t.Fatalf("%d names came back as %d", n, len(got))
		}
	}
}

func TestSRSDamage(t *testing.T) {
	good := srsFile(2, srsRule(0, srsNames("a.test", "b.test"), texts(srsKeyword, "key")))
	for n := range good {
		if _, _, err := readSelected(t, "x.srs", string(good[:n]), ""); err == nil && n > 3 {
			t.Errorf("cut after %d of %d bytes: no error", n, len(good))
		}
	}
	huge := binary.AppendUvarint(nil, 1<<62)
	for name, rule := range map[string][]byte{
		"leaves":   append([]byte{0, srsDomain, 0}, huge...),
		"bitmap":   append(append([]byte{0, srsDomain, 0, 0}, huge...), 0, 0),
		"labels":   append([]byte{0, srsDomain, 0, 0, 0}, huge...),
		"texts":    append([]byte{0, srsKeyword}, huge...),
		"text":     append([]byte{0, srsKeyword, 1}, huge...),
		"ports":    append([]byte{0, 9}, huge...),
		"ranges":   append([]byte{0, srsCIDR, 1}, bytes.Repeat([]byte{0xff}, 8)...),
		"parts":    append([]byte{1, 1}, huge...),
		"deep":     bytes.Repeat([]byte{1, 1, 1}, 1000),
		"trie":     {0, srsDomain, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c', srsFinal, 0},
		"orphan":   {0, srsDomain, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 7, 1, 'a', srsFinal, 0},
		"type":     {7},
		"item":     {0, 99},
		"backward": append(append([]byte{0}, srsRanges(srsCIDR, "192.0.2.9-192.0.2.1")...), srsFinal, 0),
	} {
		used, err := allocated(func() error {
			_, _, err := readSelected(t, "x.srs", string(srsFile(2, rule)), "")
			return err
		})
		if err == nil || used > 16<<20 {
			t.Errorf("%s: error %v, %d bytes allocated", name, err, used)
		}
	}
	for _, version := range []byte{0, maxRuleSet + 1} {
		if _, _, err := readSelected(t, "x.srs", string(srsFile(version)), ""); err == nil || err.Error() != fmt.Sprintf("srs: version %d: known are 1 to 5", version) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// mrsFile encodes a rule-provider of mihomo.
func mrsFile(behaviour byte, payload []byte) string {
	b := append([]byte("MRS\x01"), behaviour)
	b = int64s(int64s(b, 3), 0)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer z.Close()
	return string(z.EncodeAll(append(append(b, 1), payload...), nil))
}

func TestMRS(t *testing.T) {
	got, r, err := readSelected(t, "x.mrs", mrsFile(0, trieOf("+.suffix.test", "full.test", "*.one.test").encode(int64s)), "")
	want := `below:suffix.test full:full.test regexp:^[^.]+\.one\.test$`
	if err != nil || sortedWords(got) != sortedWords(want) || r.Format != "mrs" {
		t.Errorf("domains: %s, %s, %v", got, r.String(), err)
	}
	pair := func(first, last string) []byte {
		a, b := netip.MustParseAddr(first).As16(), netip.MustParseAddr(last).As16()
		return append(a[:], b[:]...)
	}
	text := mrsFile(1, slices.Concat(int64s(nil, 2), pair("192.0.2.0", "192.0.2.127"), pair("2001:db8::", "2001:db8::1")))
	if got, _, err := readSelected(t, "x.mrs", text, ""); err != nil || got != "192.0.2.0/25 2001:db8::/127" {
		t.Errorf("addresses: %s, %v", got, err)
	}
	for _, bad := range []string{mrsFile(2, nil), mrsFile(0, int64s(nil, 1<<60)), mrsFile(1, int64s(nil, 5)), "MRS\x01"} {
		if _, _, err := readSelected(t, "x.mrs", bad, ""); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestSingbox(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{"version":1,"rules":[{"domain":["a.test"],"domain_suffix":["b.test",".c.test"],"domain_keyword":"k1","domain_regex":"^r","ip_cidr":["192.0.2.0/24","2001:db8::1"]}]}`,
			"full:a.test suffix:b.test below:c.test keyword:k1 regexp:^r 192.0.2.0/24 2001:db8::1/128"},
		{`{"rules":[{"domain":"a.test"},{"domain_suffix":"b.test"}],"version":4}`, "full:a.test suffix:b.test"},
		{`{"version":2,"rules":[{"domain":"a.test","port":[80,443]}]}`, "! it holds for some packets only (port)"},
		{`{"version":2,"rules":[{"domain":"a.test","invert":true}]}`, "! " + reasonInvert},
		{`{"version":3,"rules":[{"domain":"a.test","network_interface_address":{"wifi":["2000::/3"]}}]}`, "! it holds for some packets only (network_interface_address)"},
		{`{"version":3,"rules":[{"type":"logical","mode":"or","rules":[{"domain":"a.test"},{"type":"logical","mode":"or","rules":[{"domain":"b.test"}]}]}]}`, "full:a.test full:b.test"},
		{`{"version":3,"rules":[{"type":"logical","mode":"and","rules":[{"domain":"a.test"}]}]}`, "! " + reasonAnd},
		{`{"version":3,"rules":[{"type":"logical","mode":"or","rules":[{"domain":"a.test"},{"type":"logical","mode":"and","rules":[{"domain":"b.test"}]}]}]}`, "full:a.test ! " + reasonAnd},
		{`{"version":3,"rules":[{"domain":"Bücher.test"},{"domain":"a..b"}]}`, "full:xn--bcher-kva.test ! " + entry.ReasonLabel},
	} {
		got, r, err := readSelected(t, "x.json", tt.text, "")
		for _, s := range r.Samples {
			got = strings.TrimPrefix(got+" ! "+s.Reason, " ")
		}
		if err != nil || got != tt.want || r.Format != "singbox" {
			t.Errorf("%s: %s, %v\nwant %s", tt.text, got, err, tt.want)
		}
	}
	for _, bad := range []string{
		`{"version":6,"rules":[]}`, `{"version":1}`, `{"version":1,"rules":[{"domain":[1]}]}`, `{"version":1,"rules":[{"domain":{}}]}`,
		`{"version":1,"rules":[{"ip_cidr":"x"}]}`, `{"version":1,"rules":[`, `{"version":1,"rules":[{"domain":["a.test"`,
		`{"version":1,"rules":[{"domain":"` + strings.Repeat("a", maxLine+9) + `"}]}`,
		`{"version":1,"rules":` + strings.Repeat(`[`, 5000), `{"rules":"x"}`,
	} {
		if _, _, err := readSelected(t, "x.json", bad, ""); err == nil {
			t.Errorf("%.80s: no error", bad)
		}
	}
}

func TestRanges(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"192.0.2.0", "192.0.2.255", "192.0.2.0/24"},
		{"192.0.2.1", "192.0.2.6", "192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32"},
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
		{"255.255.255.255", "255.255.255.255", "255.255.255.255/32"},
		{"2001:db8::1", "2001:db8::2", "2001:db8::1/128 2001:db8::2/128"},
		{"::ffff:192.0.2.0", "::ffff:192.0.2.1", "192.0.2.0/31"},
	} {
		var got []string
		ok := eachPrefix(netip.MustParseAddr(tt.from), netip.MustParseAddr(tt.to), func(p netip.Prefix) { got = append(got, p.String()) })
		if s := strings.Join(got, " "); !ok || s != tt.want {
			t.Errorf("%s-%s: %s, want %s", tt.from, tt.to, s, tt.want)
		}
	}
	if eachPrefix(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1"), nil) ||
		eachPrefix(netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("::1"), nil) {
		t.Error("no range is one")
	}
}
