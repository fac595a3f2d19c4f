package setup

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLocalPolicyIsImported(t *testing.T) {
	for conf, want := range map[string][2]string{
		"":                             {"", ""},
		"domain-needed":                {"", "    home\n"},
		"bogus-priv":                   {"", "    home\n"},
		"stop-dns-rebind":              {"    rebind\n", "    rebind\n"},
		"stop-dns-rebind\nbogus-priv":  {"    rebind\n", "    home\n    rebind\n"},
		"rebind-domain-ok=/a.example/": {"", ""}, // nothing to be excepted from
		"stop-dns-rebind\nrebind-localhost-ok\nrebind-domain-ok=/a.example/b.example/a.example/": {
			"    rebind {\n        allow a.example b.example\n        localhost_ok\n    }\n",
			"    rebind {\n        allow a.example b.example\n        localhost_ok\n    }\n",
		},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "d.conf")
		write(t, file, "server=192.0.2.53\nserver=/x.example/9.9.9.9\n"+conf+"\n")
		i, err := importDnsmasq(dir, file)
		if err != nil || len(i.lost) > 0 {
			t.Fatalf("%q: %v, lost %v", conf, err, i.lost)
		}
		listed, rest, _ := strings.Cut(i.corefile, "}\n\n. {\n")
		if !strings.HasSuffix(listed, cacheText+want[0]+"    upstream wan 9.9.9.9\n") || rest != cacheText+want[1]+"    upstream wan 192.0.2.53\n}\n" {
			t.Errorf("%q:\n%s", conf, i.corefile)
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d.conf"), "server=/x.example/9.9.9.9\nrebind-domain-ok=/a*b.example/\n")
	if i, err := importDnsmasq(dir, filepath.Join(dir, "d.conf")); err != nil || len(i.lost) != 1 || i.lost[0].line != 2 {
		t.Errorf("a name that cannot be carried over: %v, lost %v", err, i)
	}
}
