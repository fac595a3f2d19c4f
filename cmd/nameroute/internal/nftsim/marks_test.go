package nftsim

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

// A rule that writes our bits of a mark is told from one that keeps them.
func TestMarkWriters(t *testing.T) {
	const mask = 0x7f000000
	for rule, want := range map[string]string{
		"meta mark set 0x1":                                        "meta mark set 0x1",
		"ct mark set 0":                                            "ct mark set 0x0",
		"ct mark set meta mark":                                    "ct mark set meta mark",
		"meta mark set ct mark":                                    "meta mark set ct mark",
		"meta mark set ct mark and 0xff":                           "meta mark set ct mark",
		"meta mark set meta mark and 0xffff00ff or 0x100":          "",
		"meta mark set meta mark and 0x80ffffff or 0x100":          "meta mark set meta mark & 0x80fffeff ...",
		"meta mark set meta mark or 0x1":                           "",
		"ct mark set ct mark and 0x7f000000 or 0x1":                "",
		"ip daddr 192.0.2.1 meta mark 0x1 counter accept":          "",
		"meta mark and 0xff == 0x1 ct mark 0x1 meta priority 0":    "",
		"iifname \"lo\" meta mark set 0x81000001 ct mark set 0x10": "meta mark set 0x81000001; ct mark set 0x10",
	} {
		rs := read(t, "table inet t {\n chain c {\n type filter hook prerouting priority 0\n "+rule+"\n }\n }\n")
		var got []string
		for _, w := range rs.MarkWriters(mask) {
			if w.Chain.String() != "inet t c" || w.Handle == 0 || w.Remedy == "" {
				t.Errorf("%s: %+v", rule, w)
			}
			got = append(got, w.Does)
		}
		if rest := strings.Split(want, "; "); want != "" && !equalSets(got, rest) || want == "" && len(got) > 0 {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}

func equalSets(a, b []string) bool {
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func TestMarkWritersOfIptables(t *testing.T) {
	netlab.Need(t, "iptables-nft")
	n := netlab.NewNamespace(t, "box")
	for rule, want := range map[string]string{
		"MARK --set-mark 0x1":              "-j MARK --set-xmark 0x1/0xffffffff",
		"MARK --set-xmark 0x100/0x3f00":    "",
		"MARK --or-mark 0x1":               "",
		"CONNMARK --save-mark":             "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
		"CONNMARK --restore-mark":          "-j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
		"CONNMARK --save-mark --mask 0xff": "",
		"CONNMARK --set-mark 0x1":          "-j CONNMARK --set-xmark 0x1/0xffffffff",
	} {
		var rs *Ruleset
		var err error
		n.Do(func() {
			exec.Command("iptables-nft", "-t", "mangle", "-F").Run()
			if out, e := exec.Command("iptables-nft", append([]string{"-t", "mangle", "-A", "PREROUTING", "-j"}, strings.Fields(rule)...)...).CombinedOutput(); e != nil {
				t.Fatalf("%v: %s", e, out)
			}
			rs, err = Read()
		})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, w := range rs.MarkWriters(0x7f000000) {
			got += w.Does
		}
		if got != want {
			t.Errorf("%s: %q, want %q", rule, got, want)
		}
	}
}
