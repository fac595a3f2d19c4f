package format

import (
	"strings"
	"testing"

	"github.com/nameroute/nameroute/lists/entry"
)

func TestPlain(t *testing.T) {
	long := strings.Repeat("a", 64)
	runFormat(t, "plain", []formatCase{
		{"example.com", "suffix:example.com"},
		{"domain:example.com", "suffix:example.com"},
		{"domain: example.com ", "suffix:example.com"},
		{"full:www.Example.com.", "full:www.example.com"},
		{"keyword:Tube", "keyword:tube"},
		{"keyword:.tube-", "keyword:.tube-"},
		{`regexp:^img\d+\.example\.com$`, `regexp:^img\d+\.example\.com$`},
		{`regexp:a # comment`, `regexp:a`},
		{`regexp:a#b`, `regexp:a#b`},
		{"*.example.com", "below:example.com"},
		{".example.com", "suffix:example.com"},
		{"+.example.com", "suffix:example.com"},
		{"cdn*.example.com", `regexp:(?:^|\.)cdn.*\.example\.com$`},
		{"*-a.example.com", `regexp:-a\.example\.com$`},
		{"*.a*.example.com", `regexp:\.a.*\.example\.com$`},
		{"EXAMPLE.com", "suffix:example.com"},
		{"  example.com\t", "suffix:example.com"},
		{"example.com\r", "suffix:example.com"},
		{"example.com. # trailing", "suffix:example.com"},
		{"example.com\t#trailing", "suffix:example.com"},
		{"# comment", ""},
		{"", ""},
		{"\ufeffexample.com", "suffix:example.com"},
		{"中国", "suffix:xn--fiqs8s"},
		{"full:Bücher.example", "full:xn--bcher-kva.example"},
		{"faß.example", "suffix:xn--fa-hia.example"},
		{"例子。测试", "suffix:xn--fsqu00a.xn--0zwm56d"},
		{"xn--fiqs8s", "suffix:xn--fiqs8s"},
		{"_dmarc.r1---sn-x.example", "suffix:_dmarc.r1---sn-x.example"},
		{"cn", "suffix:cn"},
		{"192.0.2.77/24", "192.0.2.0/24"},
		{"192.0.2.7", "192.0.2.7/32"},
		{"2001:db8::/32", "2001:db8::/32"},
		{"2001:db8::1", "2001:db8::1/128"},
		{"::ffff:192.0.2.7", "192.0.2.7/32"},
		{"fe80::1%eth0", "! " + entry.ReasonChar},
		{"192.0.2.0/33", "! " + entry.ReasonPrefix + ", and " + entry.ReasonChar},
		{"1.2.3", "! " + entry.ReasonNumber},
		{"example..com", "! " + entry.ReasonLabel},
		{long + ".com", "! " + entry.ReasonLabel},
		{strings.Repeat("a.", 127) + "com", "! " + entry.ReasonLong},
		{"example com", "! " + entry.ReasonChar},
		{"https://example.com/", "! " + entry.ReasonPrefix + ", and " + entry.ReasonChar},
		{"example.com#joined", "! " + entry.ReasonChar},
		{".", "! " + entry.ReasonEveryName},
		{"*", "! " + entry.ReasonEveryName},
		{"*.", "! " + entry.ReasonEveryName},
		{"*.*", "! " + entry.ReasonEveryName},
		{"full:", "! " + entry.ReasonEmpty},
		{"keyword:", "! " + entry.ReasonEmpty},
		{"keyword:.", "! " + entry.ReasonEveryName},
		{"keyword:a b", "! " + entry.ReasonKeyword},
		{"regexp:", "! " + entry.ReasonEmpty},
		{"regexp:.*", "! " + entry.ReasonEveryName},
		{"regexp:(?=x)y", "! " + entry.ReasonRegexp},
		{"regexp:(", "! " + entry.ReasonRegexp},
		{"a\x00b.com", "! " + reasonUTF8},
		{"\xff\xfe.com", "! " + reasonUTF8},
		{"\u200d.com", "! " + entry.ReasonIDN},
	})
}
