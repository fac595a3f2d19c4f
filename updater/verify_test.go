package updater

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"

	"github.com/nameroute/nameroute/test/netlab"
)

// tree serves files by path.
func tree(files map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, text)
	}
}

func TestPublishedSumIsRequired(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL+"/l.txt", "sha256_url: "+s.URL+"/SHA256SUMS")
	text := list(3, "example")
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	wrong := strings.Repeat("0", 64)

	s.answer(tree(map[string]string{"/l.txt": text, "/SHA256SUMS": wrong + "  l.txt\n"}))
	b.update(Refused, "its SHA-256 is "+sum+", want "+wrong+" as in sha256_url")
	s.answer(tree(map[string]string{"/l.txt": text}))
	b.update(Failed, "sha256_url: the server answered 404 Not Found")
	s.answer(tree(map[string]string{"/l.txt": text, "/SHA256SUMS": wrong + "  a\n" + wrong + "  b\n"}))
	b.update(Failed, "sha256_url: it has no SHA-256 of l.txt")
	b.holds("")
	s.answer(tree(map[string]string{"/l.txt": text, "/SHA256SUMS": wrong + "  other\n" + sum + "  l.txt\n"}))
	b.update(Updated, "")
	b.holds(text)

	// The sum alone tells that nothing is new.
	s.answer(tree(map[string]string{"/SHA256SUMS": strings.ToUpper(sum) + "\n"}))
	b.update(Unchanged, "")
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests, want that of the sum alone", n)
	}
	b.clean()
}

func TestFindSum(t *testing.T) {
	a, b := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	for text, want := range map[string]string{
		a:                                        a,
		a + "  l.txt":                            a,
		a + " *l.txt\n":                          a,
		a + "  dir/l.txt\r\n":                    a,
		"SHA256 (l.txt) = " + a:                  a,
		b + "  other\n" + a + "  l.txt\n":        a,
		b + "  other\n":                          b,
		b + "  other\n" + a + "  another\n":      "",
		b + "  notl.txt\n" + a + "  x\n":         "",
		"":                                       "",
		"<html>":                                 "",
		"MD5 (l.txt) = 0123":                     "",
		strings.Repeat("z", 64) + "  l.txt":      "",
		"# comment\n" + a[:63] + "g  l.txt\n":    "",
		strings.Repeat("x", 70000) + "\n" + a:    "",
		"SHA256 (l.txt) " + a + "\n" + b + "  y": b,
	} {
		if got, ok := findSum([]byte(text), "l.txt"); got != want || ok != (want != "") {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

func sign(t *testing.T, key minisign.PrivateKey, text string) string {
	t.Helper()
	r := minisign.NewReader(strings.NewReader(text))
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	return string(r.Sign(key))
}

func TestSignatureIsRequired(t *testing.T) {
	public, private, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := minisign.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	b := newBox(t, s.URL+"/l.txt?a=b", "signature: {key: "+public.String()+"}")
	text := list(3, "example")
	good := sign(t, private, text)
	for _, c := range []struct {
		signature, why string
		want           Outcome
	}{
		{"", "l.txt.minisig: the server answered 404 Not Found", Failed},
		{"hello", "is not a minisign signature", Refused},
		{sign(t, other, text), fmt.Sprintf("it is signed with key %X, want %X", other.ID(), private.ID()), Refused},
		{sign(t, private, text+"more.example\n"), "its signature is wrong", Refused},
		{strings.Replace(good, "timestamp:", "timestamp:9", 1), "its signature is wrong", Refused},
		{string(minisign.Sign(private, []byte(text))), "of the legacy kind", Refused},
		{strings.Repeat("x", maxSignature+1), "it has more than 4096 bytes", Failed},
		{good, "", Updated},
	} {
		files := map[string]string{"/l.txt": text}
		if c.signature != "" {
			files["/l.txt.minisig"] = c.signature
		}
		s.answer(tree(files))
		b.update(c.want, c.why)
		if c.want != Updated {
			b.holds("")
		}
		b.clean()
	}
	b.holds(text)
	if q := s.requests(); q[len(q)-1].URL.RequestURI() != "/l.txt.minisig?a=b" {
		t.Errorf("the signature was asked for as %s", q[len(q)-1].URL.RequestURI())
	}
}

// What Debian's minisign signs is accepted.
func TestSignatureMadeByMinisign(t *testing.T) {
	netlab.Need(t, "minisign")
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("minisign", args...)
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader("\n\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("minisign %v: %v\n%s", args, err, out)
		}
	}
	text := list(300, "example")
	if err := os.WriteFile(filepath.Join(dir, "l.txt"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run("-G", "-W", "-p", "key.pub", "-s", "key.sec")
	run("-S", "-s", "key.sec", "-m", "l.txt")
	public, err := os.ReadFile(filepath.Join(dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(string(bytes.Split(public, []byte("\n"))[1]))
	s := newSite(t)
	s.answer(http.FileServer(http.Dir(dir)).ServeHTTP)
	b := newBox(t, s.URL+"/l.txt", "signature: {key: "+key+"}")
	b.update(Updated, "")
	b.holds(text)
	if err := os.WriteFile(filepath.Join(dir, "l.txt"), []byte(text+"more.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour) // dates have seconds only
	if err := os.Chtimes(filepath.Join(dir, "l.txt"), later, later); err != nil {
		t.Fatal(err)
	}
	b.update(Refused, "its signature is wrong")
	b.holds(text)
}
