package format

import (
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	for _, tt := range []struct{ file, text, want string }{
		{"list.txt", "example.com\n", "plain"},
		{"list.txt", "full:example.com\n192.0.2.0/24\n", "plain"},
		{"list.txt", "abcd\nefgh\n", "plain"},
		{"list.txt", "# header\n\n0.0.0.0 a.example\n", "hosts"},
		{"list.txt", "192.0.2.1 # one\n192.0.2.2 # two\n", "plain"},
		{"list.txt", "# header\nserver=/a.example/192.0.2.1\n", "dnsmasq"},
		{"list.txt", "conf-dir=/x\nipset=/a.example/vpn\n", "dnsmasq"},
		{"list.txt", "! header\n||a.example\n", "autoproxy"},
		{"list.txt", "[AutoProxy 0.2.9]\n", "autoproxy"},
		{"list.txt", "[AutoProxy 0.2.9]\na.example\nb.example\n||c.example\n", "autoproxy"},
		{"list.txt", "a.example\nb.example\n0.0.0.0 stray.example\n", "plain"},
		{"list.txt", "a.example\nfull:b.example\nserver=/stray.example/1.1.1.1\n", "plain"},
		{"list.txt", "no-resolv\nserver=/a.example/1.1.1.1\n", "dnsmasq"},
		{"gfwlist.txt", "# only a comment\nexample.com", "plain"},
		{"gfwlist.txt", "", "autoproxy"},
		{"x.conf", "\n", "dnsmasq"},
		{"hosts", "", "hosts"},
		{"mine", "", "plain"},
	} {
		if got := detect(tt.file, []byte(tt.text)).name(); got != tt.want {
			t.Errorf("detect(%s, %q) = %s, want %s", tt.file, tt.text, got, tt.want)
		}
	}
	_, _, r, err := read(t, "list.txt", "hosts", "example.com\n")
	if err != nil || r.Format != "hosts" || r.Skipped != 1 {
		t.Errorf("format: hosts over a plain list: %+v, %v", r, err)
	}
	_, _, _, err = read(t, "list.txt", "nonsense", "example.com\n")
	want := `unknown format "nonsense": want one of ` + strings.Join(Names(), ", ")
	if err == nil || err.Error() != want {
		t.Errorf("unknown format: %v, want %s", err, want)
	}
}
