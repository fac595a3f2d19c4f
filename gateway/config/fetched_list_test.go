package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nameroute/nameroute/gateway"
)

func TestDefaultsOfAFetchedList(t *testing.T) {
	c, err := Parse("g.yaml", []byte("lists: {l: {url: https://lists.example/l.txt}}"))
	if err != nil {
		t.Fatal(err)
	}
	want := gateway.Source{
		List: "l", URLs: []string{"https://lists.example/l.txt"}, Every: 24 * time.Hour, Via: gateway.WAN, Timeout: 2 * time.Minute,
		MaxSize: 64 << 20, MinEntries: 1, MaxShrink: 40, Missing: gateway.MissingEmpty,
	}
	got, ok := c.Source("l")
	if diff := cmp.Diff(want, got, equal); !ok || diff != "" {
		t.Errorf("ok %v (-want +got)\n%s", ok, diff)
	}
	if len(c.Notes) > 0 {
		t.Errorf("notes: %v", c.Notes)
	}
	if _, ok := c.Source("none"); ok {
		t.Error("found the source of a list that is not there")
	}
}

func TestWithState(t *testing.T) {
	c, err := Parse("/etc/nameroute/gateway.yaml", []byte("lists: {l: {url: https://lists.example/l.txt}, s: {url: https://lists.example/s.dat, select: netflix}, f: {file: f.txt}}"))
	if err != nil {
		t.Fatal(err)
	}
	d := c.WithState("/srv/state")
	want := []gateway.List{{Name: "l", File: "/srv/state/lists-fetched/l"}, {Name: "s", File: "/srv/state/lists-fetched/s:netflix"}, {Name: "f", File: "/etc/nameroute/f.txt", Keep: 60}}
	if diff := cmp.Diff(want, d.Lists, equal); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := c.Lists[0].File; got != "/var/lib/nameroute/lists-fetched/l" {
		t.Errorf("the configuration itself changed: %s", got)
	}
}

func TestSizesWithUnits(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "4096": 4096, "1K": 1 << 10, "64M": 64 << 20, "64MiB": 64 << 20, "1GB": 1 << 30, "4G": 4 << 30,
		"0": 0, "5G": 0, "K": 0, "1T": 0, "1.5M": 0, "-1": 0, "7B": 0, "1m": 0, "18446744073709551615G": 0, "MiB": 0, "1i": 0,
	} {
		c, err := Parse("g.yaml", []byte("lists: {l: {url: https://lists.example/l.txt, max_size: "+text+"}}"))
		switch {
		case want == 0 && err == nil:
			t.Errorf("%s is read as %d", text, c.Sources[0].MaxSize)
		case want != 0 && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != 0 && c.Sources[0].MaxSize != want:
			t.Errorf("%s is read as %d, want %d", text, c.Sources[0].MaxSize, want)
		}
	}
}

// A list that others can change is noted, and nothing else is.
func TestUnprotectedListIsNoted(t *testing.T) {
	c, err := Parse("gateway.yaml", []byte(`lists:
  a: {url: [https://lists.example/a, http://lists.example/a]}
  b: {url: http://lists.example/b, signature: {key: RWQAAQIDBAUGBwABAgMEBQYHAAECAwQFBgcAAQIDBAUGBwABAgMEBQYH}}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "gateway.yaml:2:12: lists.a.url: http://lists.example/a: anyone on the path can change the list: want https, or a signature"
	if got := c.Notes.Error(); got != want {
		t.Errorf("notes:\n%s\nwant:\n%s", got, want)
	}
}

func TestEveryProblemOfFetchedListsIsReported(t *testing.T) {
	const text = `routes:
  tun: {interface: tun0}
lists:
  both: {file: a.txt, url: https://lists.example/a}
  nothing: {every: 1h, missing: fail, headers: {}}
  none: {url: []}
  wrong:
    url: [ftp://lists.example/a, "file:///etc/passwd", "https://", "https://u:secret@lists.example/", https://x/#f, https://x:0/, https://x/, https://x/]
    every: 10s
    select: a/b
    via: vpm
    timeout: 2h
    max_size: big
    max_shrink: 40
    min_entries: -1
    missing: ignore
    sha256_url: lists.example/sum
    signature: {key: abc}
    headers: {"a b": c, Range: x, x: "1", X: "2", y: "se\ncret"}
  far: {url: https://lists.example/a, via: tun}
  near: {url: "https://192.0.2.1/a", via: tun}
  asked: {url: https://lists.example/a, via: tun, resolvers: [192.0.2.53]}
  unsigned: {url: https://x/, signature: {url: https://x/s}}
  double: {url: https://x/, sha256_url: https://x/s, signature: {key: RWQAAQIDBAUGBwABAgMEBQYHAAECAwQFBgcAAQIDBAUGBwABAgMEBQYH}}
`
	const want = `gateway.yaml:4:28: lists.both.url: the list has a file already: want one of the two
gateway.yaml:5:3: lists.nothing: has neither file nor url: want the path of the list, or where to fetch it
gateway.yaml:5:20: lists.nothing.every: only valid with url
gateway.yaml:5:33: lists.nothing.missing: only valid with url
gateway.yaml:5:48: lists.nothing.headers: only valid with url
gateway.yaml:6:15: lists.none.url: is an empty list: want an http or https URL, or a list of mirrors
gateway.yaml:8:11: lists.wrong.url: ftp://lists.example/a: not an http or https URL: want for example https://lists.example.org/list.txt
gateway.yaml:8:34: lists.wrong.url: file:///etc/passwd: not an http or https URL: want for example https://lists.example.org/list.txt
gateway.yaml:8:56: lists.wrong.url: https://: has no host: want an http or https URL
gateway.yaml:8:68: lists.wrong.url: has credentials in it: want headers: {Authorization: ...}
gateway.yaml:8:103: lists.wrong.url: https://x/#f: has a fragment: want it without #...
gateway.yaml:8:117: lists.wrong.url: https://x:0/: not a port: want 1 to 65535
gateway.yaml:8:143: lists.wrong.url: https://x/: duplicate
gateway.yaml:9:12: lists.wrong.every: 10s: out of range: want at least 1m
gateway.yaml:10:13: lists.wrong.select: a/b: not the name of a part of a file: want a category or a country, such as netflix, google@ads or CN
gateway.yaml:11:10: lists.wrong.via: vpm: unknown route: want wan or tun
gateway.yaml:12:14: lists.wrong.timeout: 2h: out of range: want at most 1h
gateway.yaml:13:15: lists.wrong.max_size: big: not a size: want a number of bytes, or one with its unit, such as 512K, 64M or 1G
gateway.yaml:14:17: lists.wrong.max_shrink: 40: not a percentage: want a percentage such as 40%, from 0% to 100%
gateway.yaml:15:18: lists.wrong.min_entries: -1: out of range: want 0 to 2147483647
gateway.yaml:16:14: lists.wrong.missing: ignore: unknown value: want empty or fail
gateway.yaml:17:17: lists.wrong.sha256_url: lists.example/sum: not an http or https URL: want for example https://lists.example.org/list.txt
gateway.yaml:17:17: lists.wrong.sha256_url: the list has a signature already: want one of the two
gateway.yaml:18:22: lists.wrong.signature.key: abc: not a minisign public key: want the second line of minisign.pub, which begins with RW
gateway.yaml:19:15: "lists.wrong.headers.a b": not the name of a header: want for example Authorization
gateway.yaml:19:25: lists.wrong.headers.Range: is set by nameroute itself
gateway.yaml:19:43: lists.wrong.headers.X: duplicate: case does not matter: want one
gateway.yaml:19:54: lists.wrong.headers.y: has a character that a header cannot carry: want printable ASCII
gateway.yaml:20:44: lists.far.via: tun: the route has no resolvers of its own: add lists.far.resolvers
gateway.yaml:23:42: lists.unsigned.signature: has no key: want the second line of minisign.pub, which begins with RW
gateway.yaml:24:41: lists.double.sha256_url: the list has a signature already: want one of the two`
	_, err := Parse("gateway.yaml", []byte(text))
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
