package problem

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"on_down", "mark", "mtu", "private", "masquerade", "wan", "lan", "gfwlist"}
	for word, want := range map[string]string{
		"on_dwon":    "on_down", // neighbours swapped
		"on-down":    "on_down", // the other hyphen
		"ON_DOWN":    "on_down",
		"ondown":     "on_down",
		"marks":      "mark",
		"makr":       "mark",
		"masq":       "masquerade", // its beginning
		"priv":       "private",
		"pan":        "wan", // two equally near: the first
		"gfw-list":   "gfwlist",
		"":           "",
		"dns":        "",
		"x":          "",
		"on":         "",
		"firewall":   "",
		"\xff\x00日本": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	if got := Nearest("vpn", nil); got != "" {
		t.Errorf("nothing known: %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"ab", "ab", 0}, {"ab", "ba", 1},
		{"kitten", "sitting", 3}, {"abcdef", "abdcef", 1}, {"ca", "abc", 3},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d: not symmetric", c.b, c.a, got, c.want)
		}
	}
}
