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
	v, err := Test(gateway.List{Name: "l", File: file}, "a..b", "example.com", "192.0.2.1/33")
	if err != nil || v[0].Err == nil || v[0].Err.Error() != entry.ReasonLabel || !v[1].Listed || v[2].Err == nil || v[2].Listed {
		t.Errorf("a name between others that are none: %+v, %v", v, err)
	}
	v, err = Test(gateway.List{Name: "l", File: file}, "example.com", "out.example.com", "other.test")
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

// TestTestOfAddresses: addresses and prefixes are looked up among the prefixes, names are not.
func TestTestOfAddresses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.txt")
	write(t, file, "192.0.2.0/24\n2001:db8::/32\nexample.com\n192.0.0.0/16\n")
	verdicts, err := Test(gateway.List{Name: "l", File: file}, "192.0.2.7", "192.0.2.0/25", "192.0.0.0/15", "2001:DB8::1", "198.51.100.1", "::ffff:192.0.2.1", "example.com")
	if err != nil {
		t.Fatal(err)
	}
	two := file + ":1: 192.0.2.0/24 lists the addresses of 192.0.2.0/24, " + file + ":4: 192.0.0.0/16 lists the addresses of 192.0.0.0/16"
	for i, want := range []string{two, two, "", file + ":2: 2001:db8::/32 lists the addresses of 2001:db8::/32", "", two, file + ":3: example.com lists example.com and all below it"} {
		var got []string
		for _, o := range verdicts[i].Origins {
			got = append(got, o.String()+" "+o.Meaning())
		}
		if s := strings.Join(got, ", "); s != want || verdicts[i].Listed != (want != "") || verdicts[i].Err != nil {
			t.Errorf("%s: %v, %s, want %s", verdicts[i].Name, verdicts[i].Listed, s, want)
		}
	}
}
