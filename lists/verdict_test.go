package lists

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/lists/entry"
	"github.com/nameroute/nameroute/lists/format/ruleset/rulesettest"
)

func TestTest(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "g.txt")
	write(t, file, "[AutoProxy 0.2.9]\n||example.com\n! c\n@@||out.example.com\n||中国\n/^https?:\\/\\/[^\\/]+blogspot\\.(.*)/\n")
	write(t, filepath.Join(dir, "geosite.dat"), rulesettest.Geosite())
	for _, tt := range []struct{ file, name, want string }{
		{file, "WWW.example.com.", file + ":2: ||example.com, lists example.com and all below it"},
		{file, "a.out.example.com", file + ":2: ||example.com, lists example.com and all below it; " + file + ":4: @@||out.example.com, removes out.example.com and all below it"},
		{file, "例子.中国", file + ":5: ||中国, lists xn--fiqs8s and all below it"},
		{file, "xn--fsqu00a.xn--fiqs8s", file + ":5: ||中国, lists xn--fiqs8s and all below it"},
		{file, "x.blogspot.de", file + `:6: /^https?:\/\/[^\/]+blogspot\.(.*)/, lists names that match ^(?:[^/]+blogspot\.(.*))`},
		{file, "example.org", ""},
		{dir + "/geosite.dat:netflix", "www.nflxvideo.net", dir + "/geosite.dat:netflix: rule 3: nflx, lists names with nflx in them"},
	} {
		verdicts, err := Test(gateway.List{Name: "l", File: tt.file}, tt.name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range verdicts[0].Origins {
			got = append(got, o.String()+", "+o.Meaning())
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s: %s\nwant %s", tt.name, s, tt.want)
		}
	}
	if _, err := Test(gateway.List{Name: "l", File: file}, "a..b"); err == nil || err.Error() != `name "a..b": `+entry.ReasonLabel {
		t.Errorf("no name: %v", err)
	}
	v, err := Test(gateway.List{Name: "l", File: file}, "example.com", "out.example.com", "other.test")
	if err != nil || !v[0].Listed || v[1].Listed || v[2].Listed || len(v[1].Origins) != 2 {
		t.Errorf("verdicts: %+v, %v", v, err)
	}
}

// TestVerdictsAgreeWithIndex: Test and the index agree.
func TestVerdictsAgreeWithIndex(t *testing.T) {
	l, _ := openSelected(t, "gfwlist.txt", "")
	names := []string{"www.google.com", "dl.google.com", "www.example.com", "x.blogspot.com", "baidu.com", "cdn1.i-scmp.com"}
	verdicts, err := Test(gateway.List{Name: "l", File: realList(t, "gfwlist.txt")}, names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range verdicts {
		if v.Listed != (which(l.Index(), v.Name) != "") {
			t.Errorf("%s: the index says otherwise than %+v", v.Name, v)
		}
	}
}
