package lists

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

func TestConvert(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.txt")
	write(t, file, "suffix.test\n*.below.test\nfull:full.test\nkeyword:it\nregexp:^it's\\d\n192.0.2.0/24\n2001:db8::/32\n")
	l := gateway.List{Name: "l", File: file}
	for to, want := range map[string]struct {
		text string
		lost int
	}{
		"plain":   {"domain:suffix.test\n*.below.test\nfull:full.test\nkeyword:it\nregexp:^it's\\d\n192.0.2.0/24\n2001:db8::/32\n", 0},
		"dnsmasq": {"server=/suffix.test/\nserver=/*.below.test/\n", 5},
		"clash": {"payload:\n  - 'DOMAIN-SUFFIX,suffix.test'\n  - 'DOMAIN-REGEX,\\.below\\.test$'\n  - 'DOMAIN,full.test'\n  - 'DOMAIN-KEYWORD,it'\n" +
			"  - 'DOMAIN-REGEX,^it''s\\d'\n  - 'IP-CIDR,192.0.2.0/24'\n  - 'IP-CIDR6,2001:db8::/32'\n", 0},
		"singbox": {"{\"version\": 1, \"rules\": [\n  {\"domain_suffix\": \"suffix.test\"},\n  {\"domain_suffix\": \".below.test\"},\n  {\"domain\": \"full.test\"},\n" +
			"  {\"domain_keyword\": \"it\"},\n  {\"domain_regex\": \"^it's\\\\d\"},\n  {\"ip_cidr\": \"192.0.2.0/24\"},\n  {\"ip_cidr\": \"2001:db8::/32\"}\n]}\n", 0},
	} {
		var b bytes.Buffer
		c, err := Convert(&b, l, to)
		if err != nil || b.String() != want.text || c.Lost != want.lost || c.Written != 7-want.lost {
			t.Errorf("%s: %+v, %v\n%s\nwant\n%s", to, c, err, b.String(), want.text)
		}
		// What was written means the same when it is read again.
		again := filepath.Join(t.TempDir(), "again")
		write(t, again, b.String())
		r, err := Check(gateway.List{Name: "l", File: again})
		if err != nil || r.Skipped > 0 || r.Entries()+r.Prefixes != c.Written || r.Format != to {
			t.Errorf("%s read again: %s, %v, %v", to, r.String(), r.Samples, err)
		}
	}
	var b bytes.Buffer
	if _, err := Convert(&b, l, "json"); err != nil || !json.Valid(b.Bytes()) || strings.Count(b.String(), `"kind"`) != 7 {
		t.Errorf("json: %v\n%s", err, b.String())
	}
	if _, err := Convert(&b, l, "xml"); err == nil || err.Error() != `format "xml" cannot be written: want one of plain, dnsmasq, clash, singbox, json` {
		t.Errorf("xml: %v", err)
	}
	write(t, file, "# nothing\n")
	b.Reset()
	if _, err := Convert(&b, l, "singbox"); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("empty: %q, %v", b.String(), err)
	}
}

// TestConvertReal: a real list that was converted holds the same names.
func TestConvertReal(t *testing.T) {
	for _, tt := range []struct{ file, selector, to string }{
		{"geosite.dat", "google", "clash"}, {"geosite.dat", "cn", "singbox"}, {"geosite-cn.srs", "", "plain"}, {"clash-gfw.yaml", "", "dnsmasq"},
	} {
		file := realList(t, tt.file)
		if tt.selector != "" {
			file += ":" + tt.selector
		}
		var b bytes.Buffer
		if _, err := Convert(&b, gateway.List{Name: "l", File: file}, tt.to); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		before, _ := openSelected(t, tt.file, tt.selector)
		after, errs := Open([]gateway.List{{Name: "l", File: out}}, Options{})
		wantErrors(t, errs)
		if tt.to != "clash" && before.Index().Len() != after.Index().Len() {
			t.Errorf("%s as %s: %d names became %d", tt.file, tt.to, before.Index().Len(), after.Index().Len())
		}
		for _, name := range []string{"www.google.com", "baidu.com", "x.qq.com", "youtube.com", "www.facebook.com", "example.com"} {
			if a, c := which(before.Index(), name), which(after.Index(), name); a != c {
				t.Errorf("%s as %s: %s was %q and is %q", tt.file, tt.to, name, a, c)
			}
		}
	}
}
