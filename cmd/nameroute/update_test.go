package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/cmd/nameroute/internal/privilege"
)

// shop is a gateway.yaml with a fetched list and a local one, and the server of the former.
type shop struct {
	t    *testing.T
	dir  string
	text string // what the server has; "" for nothing
}

func newShop(t *testing.T, keys string) *shop {
	t.Helper()
	if err := privilege.Need(); err != nil {
		t.Skip(err) // marked sockets
	}
	s := &shop{t: t, dir: t.TempDir()}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.text == "" {
			http.Error(w, "gone", http.StatusGone)
			return
		}
		fmt.Fprint(w, s.text)
	}))
	t.Cleanup(web.Close)
	s.write("gateway.yaml", "lists:\n  news: {url: "+web.URL+"/news.txt"+keys+"}\n  mine: {file: mine.txt}\n")
	s.write("mine.txt", "a.example\nfull:b.example\n192.0.2.0/24\n")
	return s
}

func (s *shop) write(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command line and returns what it printed and its exit code.
func (s *shop) run(args ...string) (string, int) {
	s.t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append(args, "--config", filepath.Join(s.dir, "gateway.yaml"), "--state", filepath.Join(s.dir, "state"), "--run-dir", s.dir))
	if err := root.Execute(); err != nil {
		return out.String() + err.Error() + "\n", exit.Code(err)
	}
	return out.String(), exit.OK
}

var webPort = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// want runs a command line and compares all that it says.
func (s *shop) want(code int, want string, args ...string) {
	s.t.Helper()
	out, got := s.run(args...)
	out = webPort.ReplaceAllString(out, "SITE")
	if got != code || strings.TrimSpace(out) != strings.TrimSpace(want) {
		s.t.Errorf("%v: exit code %d, want %d\n%s\nwant:\n%s", args, got, code, out, want)
	}
}

func TestUpdateCommand(t *testing.T) {
	s := newShop(t, "")
	s.want(exit.List, "news: failed: list news: http://SITE/news.txt: the server answered 410 Gone\n"+
		"1 list of 1 not fetched, keeping the current content", "update")
	s.text = "one.example\ntwo.example\nthree.example\n"
	s.want(exit.OK, "news: would be updated: 3 entries (0 before)\n+ one.example\n+ three.example\n+ two.example", "update", "--dry-run", "--diff", "news")
	s.want(exit.OK, "news: updated: 3 entries (0 before)", "update")
	s.want(exit.OK, "news: unchanged: 3 entries", "update", "news")
	s.text = "one.example\nthree.example\n"
	s.want(exit.OK, "news: updated: 2 entries (3 before)\n- two.example", "update", "--diff")
	s.text = "one.example\n"
	s.want(exit.List, "news: refused: list news: http://SITE/news.txt: it has 1 entry where there were 2: it shrinks by 50%, above max_shrink 40%\n"+
		"1 list of 1 not fetched, keeping the current content", "update")
	s.want(exit.OK, "news: updated: 1 entries (2 before)", "update", "--force")

	out, code := s.run("lists", "rollback", "news")
	if code != exit.OK || !strings.HasPrefix(out, "news: 2 entries, fetched 2") {
		t.Errorf("rollback: %d, %s", code, out)
	}
	s.want(exit.OK, "news: unchanged: 2 entries", "update")

	s.want(exit.Usage, `list "mine": `+filepath.Join(s.dir, "gateway.yaml")+" has no list of this name with url", "update", "mine")
	s.want(exit.Usage, "--daemon fetches every list when it is due: give no names and none of --dry-run, --force, --diff", "update", "--daemon", "news")
	s.want(exit.Usage, "missing argument: want nameroute lists rollback NAME", "lists", "rollback")
	s.write("gateway.yaml", "lists:\n  mine: {file: mine.txt}\n")
	s.want(exit.OK, "no list in "+filepath.Join(s.dir, "gateway.yaml")+" has a url", "update")
}

func TestListsCommand(t *testing.T) {
	s := newShop(t, ", every: 2h, missing: fail")
	out, code := s.run("lists")
	if code != exit.OK || !strings.Contains(out, "news: no content yet: names on no other list are answered SERVFAIL") {
		t.Errorf("%d\n%s", code, out)
	}
	s.text = "one.example\ntwo.example\nkeyword:three\n"
	s.run("update")
	s.text = ""
	s.run("update")
	out, code = s.run("lists")
	lines := strings.Split(webPort.ReplaceAllString(out, "SITE"), "\n")
	want := []string{
		`^LIST +ENTRIES +SUFFIX +FULL +KEYWORD +REGEXP +EXCEPT +PREFIX +SIZE +AGE +NEXT +SOURCE$`,
		`^news +3 +2 +0 +1 +0 +0 +0 +38 B +\ds +(59s|1m) +http://SITE/news.txt via wan$`,
		`^mine +2 +1 +1 +0 +0 +0 +1 +38 B +\ds +- +/.*/mine.txt$`,
		`^news: last fetch: list news: http://SITE/news.txt: the server answered 410 Gone$`,
	}
	for i, w := range want {
		if code != exit.OK || len(lines) != len(want)+1 || !regexp.MustCompile(w).MatchString(lines[i]) {
			t.Fatalf("%d, line %d\n%s\nwant: %s", code, i, out, w)
		}
	}
	out, code = s.run("lists", "--json")
	var rows []map[string]any
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != exit.OK || len(rows) != 2 {
		t.Fatalf("%d, %v\n%s", code, err, out)
	}
	if r := rows[0]; r["name"] != "news" || r["entries"] != 3.0 || r["keyword"] != 1.0 || r["via"] != "wan" || r["last_error"] == nil || r["next"] == nil {
		t.Errorf("row %v", r)
	}
	if r := rows[1]; r["prefixes"] != 1.0 || r["full"] != 1.0 || r["via"] != nil || r["next"] != nil {
		t.Errorf("row %v", r)
	}
	s.write("gateway.yaml", "lists: {x: {}}")
	if out, code := s.run("lists"); code != exit.Config {
		t.Errorf("a bad gateway.yaml: %d, %s", code, out)
	}
}
