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
	"github.com/nameroute/nameroute/test/netlab"
)

func TestInterruptedDownloadIsResumed(t *testing.T) {
	s := newSite(t)
	b := newBox(t, s.URL)
	s.answer(file(list(200, "old.example")))
	b.update(Updated, "")
	text := list(300, "example")

	s.answer(cut(text, 1000))
	b.update(Failed, "the download was interrupted after 1000 bytes: unexpected EOF")
	b.holds(list(200, "old.example"))
	if p := b.meta().Part; p == nil || p.Size != 1000 || p.Validator != `"whole"` {
		t.Fatalf("part %+v", p)
	}

	// A 500 in between does not discard it.
	s.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	b.update(Failed, "the server answered 500 Internal Server Error")

	s.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	b.update(Updated, "")
	b.holds(text)
	if q := s.requests(); len(q) != 1 || q[0].Header.Get("Range") != "bytes=1000-" || q[0].Header.Get("If-Range") != `"whole"` {
		t.Errorf("asked %d times, for %q if %q", len(q), q[0].Header.Get("Range"), q[0].Header.Get("If-Range"))
	}
	b.clean()
}

// Another mirror without the list does not discard the part of the first.
func TestPartSurvivesFailureOfAnotherMirror(t *testing.T) {
	first, second := newSite(t), newSite(t)
	b := newBox(t, fmt.Sprintf("[%s, %s]", first.URL, second.URL))
	text := list(300, "example")
	first.answer(cut(text, 1000))
	b.update(Failed, "404 Not Found")
	first.answer(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	})
	b.update(Updated, "")
	b.holds(text)
	if got := first.requests()[0].Header.Get("Range"); got != "bytes=1000-" {
		t.Errorf("asked for %q", got)
	}
	b.clean()
	// Nothing is left of it when a mirror has nothing new.
	first.answer(cut(list(301, "example"), 1000))
	second.answer(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	b.update(Unchanged, "")
	b.clean()
	if b.meta().Part != nil {
		t.Errorf("stored %+v", b.meta().Part)
	}
}

// What a server sends instead of the rest is never appended to the part.
func TestOtherContentIsNotAppended(t *testing.T) {
	full := list(300, "example")
	other := list(250, "other.example")
	for name, serve := range map[string]http.HandlerFunc{
		"whole again": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"other"`)
			io.WriteString(w, other)
		},
		"no such range": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			io.WriteString(w, other)
		},
		"another place": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("Content-Range", "bytes 0-99/100")
				w.WriteHeader(http.StatusPartialContent)
				return
			}
			io.WriteString(w, other)
		},
		"another version": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.Header().Set("ETag", `"other"`)
				w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(other)-1, len(other)))
				w.WriteHeader(http.StatusPartialContent)
				io.WriteString(w, other[1000:])
				return
			}
			io.WriteString(w, other)
		},
		"no range in it": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusPartialContent)
				return
			}
			io.WriteString(w, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := newBox(t, s.URL)
			s.answer(cut(full, 1000))
			b.update(Failed, "interrupted after 1000 bytes")
			s.answer(serve)
			b.update(Updated, "")
			b.holds(other)
			b.clean()
		})
	}
}

// A part without a strong validator, or from a server without ranges, is deleted.
func TestPartWithoutStrongValidatorIsDropped(t *testing.T) {
	for name, header := range map[string][2]string{
		"weak ETag": {"ETag", `W/"weak"`}, "no ranges": {"Accept-Ranges", "none"}, "nothing": {"X", "y"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := newBox(t, s.URL)
			s.answer(func(w http.ResponseWriter, r *http.Request) {
				if name != "nothing" {
					w.Header().Set("ETag", `"strong"`)
					w.Header().Set("Accept-Ranges", "bytes")
				}
				w.Header().Set(header[0], header[1])
				w.Header().Set("Content-Length", "9000")
				w.Write(make([]byte, 4000))
			})
			b.update(Failed, "interrupted after 4000 bytes")
			b.clean()
			if b.meta().Part != nil {
				t.Errorf("stored %+v", b.meta().Part)
			}
		})
	}
}

// killedDir names the state directory for the child of TestKilledDownloadIsResumed.
const killedDir = "UPDATER_KILLED_DIR"

// killed updates until it is killed.
func killed(dir string) {
	cfg, err := config.Parse("gateway.yaml", []byte("lists: {l: {url: "+os.Getenv("UPDATER_KILLED_URL")+"}}\n"))
	if err == nil {
		_, err = New(Options{Config: cfg, State: dir}).Update(context.Background(), nil, Flags{})
	}
	fmt.Println("it ended:", err)
	os.Exit(1)
}

// begin sends half of the first n bytes, the rest of them when the first are to be synced
// unless it is early, and then nothing until the client gives up.
func begin(text string, n int, early bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"whole"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		io.WriteString(w, text[:n/2])
		w.(http.Flusher).Flush()
		for n /= 2; !early && r.Context().Err() == nil; n++ { // until that is noticed
			time.Sleep(syncEvery / 10)
			io.WriteString(w, text[n:n+1])
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	}
}

// A download whose process is killed is resumed by the next one, from what was synced to
// disk. Where nothing was yet, it begins again.
func TestKilledDownloadIsResumed(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text := list(3000, "example")
	for _, c := range []struct {
		name string
		wait bool // until something was synced
	}{{"late", true}, {"early", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := newBox(t, s.URL)
			s.answer(begin(text, 20_000, !c.wait))
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
			netlab.Eventually(t, 20*time.Second, func() error { return netlab.Check(there(), "nothing of the download is on disk") })
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

// The stored progress never describes another mirror's content in the same file: after a
// kill the two would be joined.
func TestPartHasOneContent(t *testing.T) {
	first, second := newSite(t), newSite(t)
	b := newBox(t, fmt.Sprintf("[%s, %s]", first.URL, second.URL))
	first.answer(cut(list(300, "example"), 1000))
	b.update(Failed, "404 Not Found")
	if p := b.meta().Part; p == nil || p.URL != first.URL {
		t.Fatalf("stored %+v", p)
	}
	first.answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	other := list(250, "other.example")
	second.answer(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, other[:2000])
		w.(http.Flusher).Flush()
		if err := netlab.Poll(30*time.Second, func() error {
			data, _ := os.ReadFile(b.store.part("l"))
			return netlab.Check(strings.HasPrefix(string(data), other[:2000]), "the other mirror's content is not in the file")
		}); err != nil {
			t.Error(err)
		}
		if m, err := readMeta(b.store.meta("l")); err != nil || m.Part != nil {
			t.Errorf("while the other mirror's content is in the file, the stored part is %+v, %v", m.Part, err)
		}
		io.WriteString(w, other[2000:])
	})
	b.update(Updated, "")
	b.holds(other)
	b.clean()
}
