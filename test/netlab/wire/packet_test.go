package wire

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const (
	v4head = "45000000 00000000 4011 0000 c0000201 1e000001" // 192.0.2.1 > 30.0.0.1, UDP
	v6addr = "20010db8000000000000000000000001 2a0f0000000000000000000000000001"
)

func TestParsePacket(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, data, want string }{
		{"v4 UDP", v4head + "0035 1111 0008 0000", "4 17 192.0.2.1:53 30.0.0.1:4369"},
		{"v4 options", "46000000 00000000 4011 0000 c0000201 1e000001 01010101 0035 1111", "4 17 192.0.2.1:53 30.0.0.1:4369"},
		{"v4 later fragment", "45000000 00000001 4011 0000 c0000201 1e000001 0035 1111", "4 17 192.0.2.1:0 30.0.0.1:0"},
		{"v4 header longer than the packet", "4f000000 00000000 4011 0000 c0000201 1e000001", "4 17 192.0.2.1:0 30.0.0.1:0"},
		{"v6 TCP", "60000000 0000 06 40" + v6addr + "0050 1111", "6 6 [2001:db8::1]:80 [2a0f::1]:4369"},
		{"v6 hop-by-hop", "60000000 0000 00 40" + v6addr + "1100000000000000 0050 1111", "6 17 [2001:db8::1]:80 [2a0f::1]:4369"},
		{"v6 first fragment", "60000000 0000 2c 40" + v6addr + "1100000100000000 0050 1111", "6 17 [2001:db8::1]:80 [2a0f::1]:4369"},
		{"v6 later fragment", "60000000 0000 2c 40" + v6addr + "1100000900000000 0050 1111", "6 17 [2001:db8::1]:0 [2a0f::1]:0"},
		{"ICMPv6", "60000000 0000 3a 40" + v6addr + "8000 1111", "6 58 [2001:db8::1]:0 [2a0f::1]:0"},
		{"short", "4500", "no packet"},
		{"ARP", "0001080006040001" + strings.Repeat("00", 20), "no packet"},
	}
	for _, tt := range tests {
		p, ok := parsePacket(unhex(t, tt.data))
		got := "no packet"
		if ok {
			got = strings.Join([]string{string(rune('0' + p.Family)), strconv.Itoa(p.Proto), p.Src.String(), p.Dst.String()}, " ")
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestPacketContent(t *testing.T) {
	t.Parallel()
	q, err := new(dns.Msg).SetQuestion("WWW.Listed.Example.", dns.TypeA).Pack()
	if err != nil {
		t.Fatal(err)
	}
	udp := v4head + "d431 0035 0000 0000" + hex.EncodeToString(q)
	syn := "45000000 00000000 4006 0000 c0000201 1e000001 d431 0050 00000000 00000000 7002ffff00000000 0101 0204 0564 0101"
	p, _ := parsePacket(unhex(t, udp))
	if got := p.Question(); got != "www.listed.example" {
		t.Errorf("query %q", got)
	}
	for filter, want := range map[string]bool{"listed.example": true, "www.listed.example.": true, "isted.example": false} {
		if got := p.Passes(Asks(filter), Proto(unix.IPPROTO_UDP), ToPort(53), To(netip.MustParseAddr("30.0.0.1"))); got != want {
			t.Errorf("Asks(%q) is %v, want %v", filter, got, want)
		}
	}
	p, _ = parsePacket(unhex(t, syn))
	if !p.SYN() || p.MSS() != 1380 {
		t.Errorf("SYN %v, MSS %d, want 1380", p.SYN(), p.MSS())
	}
	if p.Passes(Asks("listed.example")) || p.Passes(Family(6)) || p.Passes(Not(Family(4))) {
		t.Error("a SYN passes other filters")
	}
}

// FuzzPacket: whatever is on a wire is read without a panic.
func FuzzPacket(f *testing.F) {
	for _, seed := range []string{v4head + "00351111", "60000000 0000 00 40" + v6addr + "11ff000000000000",
		"45000000 00000000 4006 0000 c0000201 1e000001 d431 0050 00000000 00000000 f002ffff00000000 0001 0204 0264",
		"45000000 00000000 4006 0000 c0000201 1e000001 d431 0050 00000000 00000000 3002"} {
		f.Add(unhex(f, seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ok := parsePacket(data)
		if !ok {
			return
		}
		if p.Family != 4 && p.Family != 6 {
			t.Errorf("family %d", p.Family)
		}
		_, _, _, _ = p.Question(), p.MSS(), p.Payload(), p.String()
	})
}
