package resolvers

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func native(b []byte, n uint32) {
	if len(b) == 2 {
		binary.NativeEndian.PutUint16(b, uint16(n))
		return
	}
	binary.NativeEndian.PutUint32(b, n)
}

func TestOption(t *testing.T) {
	m, ok := parseOption(syscall.NetlinkMessage{Data: userOption(2, 1800, "2001:db8::53", "::", "ff02::1", "::1", "fe80::53")})
	if got := fmt.Sprintln(ok, m.index, m.router, m.servers, m.lifetime); got != "true 2 fe80::1 [2001:db8::53 fe80::53] 1800\n" {
		t.Error(got)
	}
}

// Lifetimes of RFC 8106: a later one replaces the earlier one, 0 withdraws, and what the
// router's last advertisement has not named comes last until it expires.
func TestAdvertisedLifetimes(t *testing.T) {
	var s advertised
	now := time.Hour
	hear := func(router string, lifetime uint32, servers ...string) {
		var all []netip.Addr
		for _, a := range servers {
			all = append(all, netip.MustParseAddr(a))
		}
		s.hear(2, "wan0", netip.MustParseAddr(router), all, lifetime, now)
	}
	want := func(want string) {
		t.Helper()
		var all []string
		for _, a := range s.all {
			all = append(all, a.server.String())
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	hear("fe80::1", 60, "2001:db8::1", "2001:db8::2")
	hear("fe80::1", forever, "fe80::1")
	want("2001:db8::1 2001:db8::2 fe80::1")
	now += 30 * time.Second
	hear("fe80::1", 60, "2001:db8::3", "2001:db8::2")
	want("2001:db8::2 2001:db8::3 2001:db8::1 fe80::1")
	hear("fe80::2", 600, "2001:db8::9")
	hear("fe80::1", 0, "2001:db8::3", "2001:db8::4")
	want("2001:db8::2 2001:db8::9 2001:db8::1 fe80::1")
	now += 30 * time.Second
	s.expire(now)
	want("2001:db8::2 2001:db8::9 fe80::1")
	now += 24 * 366 * time.Hour
	s.expire(now)
	want("fe80::1")
	for n := range 1000 {
		s.hear(n/100, "l", netip.MustParseAddr("fe80::1"), []netip.Addr{netip.AddrFrom16([16]byte{0x20, byte(n >> 8), byte(n)})}, 60, now)
	}
	if len(s.all) > maxAdvertised || s.onLink(7) > maxAdvertisedOnLink {
		t.Errorf("%d in all, %d on a link", len(s.all), s.onLink(7))
	}
	s.leave(2)
	if n := s.onLink(2); n > 0 {
		t.Errorf("%d of a link that is gone", n)
	}
}

// What is written is read again, by this process and by others.
func TestAdvertisementsAreKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run", "advertised")
	var s advertised
	s.hear(2, "wan0", netip.MustParseAddr("fe80::1"), []netip.Addr{netip.MustParseAddr("2001:db8::53")}, 60, 3*time.Second)
	s.hear(2, "wan0", netip.MustParseAddr("fe80::1"), []netip.Addr{netip.MustParseAddr("fe80::53")}, forever, 3*time.Second)
	if err := writeAdvertisements(file, s.all); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if want := "2 wan0 fe80::1 2001:db8::53 3 63\n2 wan0 fe80::1 fe80::53 3 0\n"; err != nil || string(text) != want {
		t.Errorf("%s, %v; want %s", text, err, want)
	}
	if got := parseAdvertisements(text); fmt.Sprint(got) != fmt.Sprint(s.all) {
		t.Errorf("%v, want %v", got, s.all)
	}
	if err := writeAdvertisements(file, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error("an empty file stays")
	}
}
