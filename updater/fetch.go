package updater

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// fetch is one try to get a list from one of its URLs.
type fetch struct {
	client   *http.Client
	source   gateway.Source
	url      string
	store    store
	known    meta                   // what is remembered of the content in use
	whole    bool                   // fetch even what is known already
	progress func(got, total int64) // total is -1 where the server does not say; may be nil
	remember func(*part) error      // writes what a later process can go on with; nil is nothing

	cut *part // what a later try can go on with; set by run
}

// got is what a server sent. Its content lies in store.fresh.
type got struct {
	unchanged          bool
	etag, lastModified string
}

// statusError is an answer other than what was asked for.
type statusError struct {
	status string
	after  time.Duration // Retry-After; 0 for none
}

func (e *statusError) Error() string { return "the server says " + e.status }

// run fetches. After an error f.cut is what a later try can go on with: another
// mirror's part too, as long as this one has sent nothing to put in its place.
func (f *fetch) run(ctx context.Context) (got, error) {
	f.cut = f.known.Part
	resume := f.resumable()
	g, err := f.get(ctx, resume)
	if resume != nil && errors.Is(err, errRange) {
		f.cut = nil
		g, err = f.get(ctx, nil)
	}
	if err != nil && f.cut == nil {
		err = errors.Join(err, removeIfThere(f.store.part(f.source.List)))
	}
	return g, err
}

// errRange means that the server has no such part: the list has changed.
var errRange = errors.New("the server does not have the rest")

func (f *fetch) get(ctx context.Context, resume *part) (got, error) {
	req, err := f.request(ctx, resume)
	if err != nil {
		return got{}, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return got{}, plainError(err)
	}
	defer resp.Body.Close()
	g := got{etag: validator(resp, "ETag"), lastModified: validator(resp, "Last-Modified")}
	conditional := req.Header.Get("If-None-Match")+req.Header.Get("If-Modified-Since") != ""
	switch {
	case resp.StatusCode == http.StatusNotModified && conditional:
		return got{unchanged: true, etag: f.known.ETag, lastModified: f.known.LastModified}, nil
	case resp.StatusCode == http.StatusPartialContent && resume != nil:
		if err := f.fits(resp, resume); err != nil {
			return got{}, fmt.Errorf("%w: %w", errRange, err)
		}
		return g, f.take(resp, resume.Size, resume.Encoding)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && resume != nil:
		return got{}, errRange
	case resp.StatusCode == http.StatusOK:
		return g, f.take(resp, 0, resp.Header.Get("Content-Encoding"))
	}
	return got{}, &statusError{status: resp.Status, after: retryAfter(resp.Header.Get("Retry-After"))}
}

func (f *fetch) request(ctx context.Context, resume *part) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "nameroute")
	for _, h := range f.source.Headers {
		req.Header.Set(h.Name, h.Value)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	if !f.whole && f.known.URL == f.url {
		if f.known.ETag != "" {
			req.Header.Set("If-None-Match", f.known.ETag)
		}
		if f.known.LastModified != "" {
			req.Header.Set("If-Modified-Since", f.known.LastModified)
		}
	}
	if resume != nil {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", resume.Size))
		req.Header.Set("If-Range", resume.Validator)
	}
	return req, nil
}

// resumable is the part of an earlier try that can be gone on with, or nil.
func (f *fetch) resumable() *part {
	p := f.known.Part
	if p == nil || p.URL != f.url {
		return nil
	}
	info, err := os.Stat(f.store.part(f.source.List))
	if err != nil || info.Size() < p.Size {
		return nil
	}
	return p
}

// fits checks that a partial answer goes on where the part ends, and is of the same
// content (RFC 9110 section 15.3.7).
func (f *fetch) fits(resp *http.Response, p *part) error {
	var first, last int64
	header := resp.Header.Get("Content-Range")
	if _, err := fmt.Sscanf(header, "bytes %d-%d/", &first, &last); err != nil || first != p.Size {
		return fmt.Errorf("it sent %q for what begins at %d", header, p.Size)
	}
	if e := resp.Header.Get("ETag"); strings.HasPrefix(p.Validator, `"`) && e != "" && e != p.Validator {
		return fmt.Errorf("it sent a part of %s for one of %s", e, p.Validator)
	}
	return nil
}

// validator is a header line by which a server knows its content, if it is one that
// can be remembered and sent back.
func validator(resp *http.Response, name string) string {
	if v := resp.Header.Get(name); len(v) <= maxValidator && headerText(v) {
		return v
	}
	return ""
}

const maxValidator = 1024 // bytes

// small fetches something of a few lines that belongs to the list.
func (f *fetch) small(ctx context.Context, url string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "nameroute")
	if sameHost(url, f.url) {
		for _, h := range f.source.Headers {
			req.Header.Set(h.Name, h.Value)
		}
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, plainError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{status: resp.Status, after: retryAfter(resp.Header.Get("Retry-After"))}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("it has more than %d bytes", most)
	}
	return data, err
}

// retryAfter reads the header in seconds or as a date (RFC 9110 section 10.2.3).
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

func removeIfThere(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// baseName is the last part of a URL's path.
func baseName(u string) string { return path.Base(shownText(u)) }
