package gateway

import (
	"net/netip"
	"testing"
	"time"
)

func TestMask(t *testing.T) {
	for _, c := range []struct {
		mask  Mask
		valid bool
		most  int
	}{
		{0x7f000000, true, 127}, {0x3, true, 3}, {0xc0000000, true, 3}, {0xff, true, 255},
		{0, false, 0}, {1, false, 1}, {0x80000000, false, 1}, {0x5, false, 5}, {0x7f0000f0, false, 0x7f0000f},
	} {
		if got := c.mask.Valid(); got != c.valid {
			t.Errorf("%#x: valid %v, want %v", uint32(c.mask), got, c.valid)
		}
		if got := c.mask.Max(); got != c.most {
			t.Errorf("%#x: highest number %d, want %d", uint32(c.mask), got, c.most)
		}
	}
}

func TestMark(t *testing.T) {
	m := DefaultMask.Mark(0x51)
	if got := m.String(); got != "0x51000000/0x7f000000" {
		t.Errorf("prints %s", got)
	}
	if got := DefaultMask.Number(0xd1000001); got != 0x51 {
		t.Errorf("number of a mark with others' bits: %d, want %d", got, 0x51)
	}
	if got := m.Apply(0xff0000aa); got != 0xd10000aa {
		t.Errorf("applied to 0xff0000aa: %#x, want 0xd10000aa: others' bits must stay", got)
	}
	for mark, want := range map[uint32]bool{0x51000000: true, 0xd10000aa: true, 0x50000000: false, 0: false} {
		if got := m.Matches(mark); got != want {
			t.Errorf("matches %#x: %v, want %v", mark, got, want)
		}
	}
}

func TestLifetimeOf(t *testing.T) {
	l := Lifetime{Floor: DefaultFloor, Grace: DefaultGrace, Ceiling: DefaultCeiling}
	for _, c := range []struct{ ttl, need, want time.Duration }{
		{0, 5 * time.Minute, time.Hour},
		{time.Minute, 6 * time.Minute, time.Hour},
		{50 * time.Minute, 55 * time.Minute, time.Hour},
		{2 * time.Hour, 125 * time.Minute, 130 * time.Minute},
		{l.MaxTTL(), 24*time.Hour - 5*time.Minute, 24 * time.Hour},
		{48 * time.Hour, 24*time.Hour - 5*time.Minute, 24 * time.Hour},
	} {
		if need, want := l.Of(c.ttl); need != c.need || want != c.want {
			t.Errorf("Of(%v) = %v, %v, want %v, %v", c.ttl, need, want, c.need, c.want)
		}
	}
}

func TestSetNames(t *testing.T) {
	r := Route{Name: "vpn"}
	for _, c := range []struct{ got, want string }{
		{r.Set(V4), "vpn4"}, {r.Set(V6), "vpn6"}, {r.PrefixSet(V4), "vpn4p"}, {r.PrefixSet(V6), "vpn6p"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
	for addr, want := range map[string]Family{"192.0.2.1": V4, "::ffff:192.0.2.1": V4, "2001:db8::1": V6} {
		if got := FamilyOf(netip.MustParseAddr(addr)); got != want {
			t.Errorf("family of %s: %d, want %d", addr, got, want)
		}
	}
}

func TestConfigLookups(t *testing.T) {
	c := &Config{
		WANLink: "eth0", Mask: DefaultMask, Priority: 7100,
		Routes: []Route{{Name: "vpn"}, {Name: "isp2", Egress: Egress{Kind: EgressNextHop}}},
		Lists:  []List{{Name: "gfwlist"}, {Name: "mine"}},
	}
	wan, ok := c.Route("wan")
	if !ok || wan.Mark.String() != "0x7f000000/0x7f000000" || wan.Table != 7327 || wan.Priority != 7227 || wan.Egress.Link != "eth0" {
		t.Errorf("wan is %+v", wan)
	}
	if r, ok := c.Route("isp2"); !ok || r.Egress.Kind != EgressNextHop {
		t.Errorf("isp2 is %+v, %v", r, ok)
	}
	if _, ok := c.Route("none"); ok {
		t.Error("found a route that is not there")
	}
	if l, ok := c.List("mine"); !ok || l.Name != "mine" {
		t.Errorf("mine is %+v, %v", l, ok)
	}
	if _, ok := c.List("none"); ok {
		t.Error("found a list that is not there")
	}
}

func TestAllRoutes(t *testing.T) {
	c := &Config{Mask: DefaultMask, Routes: make([]Route, 1, 8)}
	c.Routes[0].Name = "vpn"
	all := c.AllRoutes()
	if len(all) != 2 || all[0].Name != "vpn" || all[1].Name != WAN {
		t.Fatalf("got %+v, want vpn and wan", all)
	}
	all[0].Name = "other"
	if c.Routes[0].Name != "vpn" {
		t.Error("a change to the result changed the configuration")
	}
}

// Marks of routes are in the kernel while the file is edited and the program is
// upgraded: the hash must never change.
func TestHashNumberIsFixed(t *testing.T) {
	for name, want := range map[string]int{"vpn": 8, "office": 86, "isp2": 124} {
		if got := HashNumber(name, DefaultMask); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if got := HashNumber("vpn", 0x3); got < 1 || got > 2 {
		t.Errorf("smallest mask: %d, want 1 or 2", got)
	}
}
