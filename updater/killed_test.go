package updater

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/gateway/config"
)

// killedDir names the state directory for the child of TestKilledDownload.
const killedDir = "UPDATER_KILLED_DIR"

// killed updates, and does not live to see the end of it.
func killed(dir string) {
	cfg, err := config.Parse("gateway.yaml", []byte("lists: {l: {url: "+os.Getenv("UPDATER_KILLED_URL")+"}}\n"))
	if err == nil {
		_, err = New(Options{Config: cfg, State: dir}).Update(context.Background(), nil, Flags{})
	}
	fmt.Println("it ended:", err)
	os.Exit(1)
}

// begin sends a beginning and nothing more for as long as it is waited for.
func begin(text string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		io.WriteString(w, text[:n/2])
		w.(http.Flusher).Flush()
		time.Sleep(syncEvery + 100*time.Millisecond)
		io.WriteString(w, text[n/2:n])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
}

// A download whose process is killed is gone on with by the next one, from what was
// made sure of; where nothing was yet, it begins anew.
func TestKilledDownload(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := list(3000, "example")
	for _, c := range []struct {
		name string
		wait bool // until something was made sure of
	}{{"late", true}, {"early", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := newBox(t, s.URL)
			s.answer(begin(text, 20_000))
			child := exec.Command(self)
			child.Env = append(os.Environ(), killedDir+"="+b.state, "UPDATER_KILLED_URL="+s.URL)
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			there := func() bool {
				if m, err := readMeta(b.store.meta("l")); c.wait {
					return err == nil && m.Part != nil
				}
				info, err := os.Stat(b.store.part("l"))
				return err == nil && info.Size() > 0
			}
			for end := time.Now().Add(20 * time.Second); !there(); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Error("nothing of the download is there")
					break
				}
			}
			_ = child.Process.Kill()
			_ = child.Wait() // "signal: killed"
			want := ""
			if m, err := readMeta(b.store.meta("l")); err == nil && m.Part != nil {
				want = fmt.Sprintf("bytes=%d-", m.Part.Size)
			}
			if (want != "") != c.wait {
				t.Errorf("the rest is %q", want)
			}

			s.answer(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"whole"`)
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
			})
			b.update(Updated, "")
			b.holds(text)
			if q := s.requests(); len(q) != 1 || q[0].Header.Get("Range") != want || (q[0].Header.Get("If-Range") == `"whole"`) != c.wait {
				t.Errorf("asked %d times, for %q if %q; want %q", len(q), q[0].Header.Get("Range"), q[0].Header.Get("If-Range"), want)
			}
			b.clean()
		})
	}
}

// What is remembered of a part is never true of another mirror's content that lies in
// the same file: a process that is killed then must not put the two together.
func TestPartIsOfOneContent(t *testing.T) {
	first, second := newSite(t), newSite(t)
	b := newBox(t, fmt.Sprintf("[%s, %s]", first.URL, second.URL))
	first.answer(cut(list(300, "example"), 1000))
	b.update(Failed, "404 Not Found")
	if p := b.remembered().Part; p == nil || p.URL != first.URL {
		t.Fatalf("remembered %+v", p)
	}
	first.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	other := list(250, "other.example")
	second.answer(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, other[:2000])
		w.(http.Flusher).Flush()
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if data, _ := os.ReadFile(b.store.part("l")); strings.HasPrefix(string(data), other[:2000]) {
				break
			}
		}
		if m, err := readMeta(b.store.meta("l")); err != nil || m.Part != nil {
			t.Errorf("while the other mirror's content is in the file, remembered is %+v, %v", m.Part, err)
		}
		io.WriteString(w, other[2000:])
	})
	b.update(Updated, "")
	b.holds(other)
	b.clean()
}
