package format

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDLC(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"all":       "include:one\ninclude:two @ads\ninclude:two @-ads @-cn # again\n",
		"one":       "one.test # c\nfull:a.one.test\nkeyword:oneword\nregexp:^one\\d$\ninclude:three\n",
		"two":       "ads.two.test @ads\ncn.two.test @cn\ntwo.test\nbad rule here\n",
		"three":     "three.test &elsewhere @x\ninclude:four\n",
		"four":      "domain:four.test\n",
		"loop":      "loop.test\ninclude:loop2\n",
		"loop2":     "include:loop\n",
		"elsewhere": "elsewhere.test\n",
		"lost":      "include:nowhere\n",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	for _, tt := range []struct{ selector, want string }{
		{"all", `suffix:one.test full:a.one.test keyword:oneword regexp:^one\d$ suffix:three.test suffix:four.test suffix:ads.two.test suffix:two.test`},
		{"ALL", `suffix:one.test full:a.one.test keyword:oneword regexp:^one\d$ suffix:three.test suffix:four.test suffix:ads.two.test suffix:two.test`},
		{"two@ads", "suffix:ads.two.test"},
		{"two@!ads", "suffix:cn.two.test suffix:two.test"},
		{"elsewhere", "suffix:elsewhere.test suffix:three.test"},
		{"elsewhere@x", "suffix:three.test"},
	} {
		got, r, err := readFile(dir + ":" + tt.selector)
		if err != nil || got != tt.want || r.Format != "dlc" {
			t.Errorf("%s: %s, %+v, %v\nwant %s", tt.selector, got, r, err, tt.want)
		}
	}
	for _, tt := range []struct{ selector, want string }{
		{"loop", "include loop: loop includes loop2 includes loop"},
		{"tvo", `category "tvo": unknown; the nearest of 9 is "two"`},
		{"lost", "lost includes nowhere: open " + filepath.Join(dir, "nowhere") + ": no such file or directory"},
	} {
		if _, _, err := readFile(dir + ":" + tt.selector); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.selector, err, tt.want)
		}
	}
	// A file of the folder named by itself, and a checkout with a folder data.
	if got, _, err := readFile(filepath.Join(dir, "three")); err != nil || got != "suffix:three.test suffix:four.test" {
		t.Errorf("a file by itself: %s, %v", got, err)
	}
	up := t.TempDir()
	if err := os.Rename(dir, filepath.Join(up, "data")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := readFile(up + ":four"); err != nil || got != "suffix:four.test" {
		t.Errorf("a checkout: %s, %v", got, err)
	}
}

func TestDLCDeep(t *testing.T) {
	dir := t.TempDir()
	name := func(i int) string { return "f" + strings.Repeat("x", i) }
	for i := range 100 {
		write(t, filepath.Join(dir, name(i)), "include:"+name(i+1)+"\ninclude:"+name(i+1)+"\n") // 2^100 ways
	}
	write(t, filepath.Join(dir, name(100)), "deep.test\n")
	if _, _, err := readFile(dir + ":f"); err == nil || !strings.HasSuffix(err.Error(), "more than 64 files deep") {
		t.Errorf("100 deep: %v", err)
	}
	if got, _, err := readFile(dir + ":" + name(50)); err != nil || got != "suffix:deep.test" {
		t.Errorf("50 deep: %s, %v", got, err)
	}
}
