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

// fetch is one attempt to get a list from one of its URLs.
type fetch struct {
	client   *http.Client
	source   gateway.Source
	url      string
	store    store
	known    meta                        // of the content in use
	force    bool                        // fetch content that is in use already too
	progress func(received, total int64) // total is -1 where the server does not tell; may be nil
	savePart func(*part) error           // stores what a later process can resume; nil is nothing

	part *part // what a later attempt can resume; set by run
}

// received describes what a server sent. The content is in store.incoming.
type received struct {
	unchanged          bool
	etag, lastModified string
}

// statusError is an unexpected response.
type statusError struct {
	status     string
	retryAfter time.Duration // 0 for none
}

func (e *statusError) Error() string { return "the server answered " + e.status }

// run fetches the list. After an error f.part is what a later attempt can resume: also
// the part of another mirror, as long as this one has sent nothing to replace it.
func (f *fetch) run(ctx context.Context) (received, error) {
	f.part = f.known.Part
	resume := f.storedPart()
	g, err := f.get(ctx, resume)
	if resume != nil && errors.Is(err, errRange) {
		f.part = nil
		g, err = f.get(ctx, nil)
	}
	if err != nil && f.part == nil {
		err = errors.Join(err, removeIfExists(f.store.part(f.source.List)))
	}
	return g, err
}

// errRange reports that the server has no such range: the list has changed.
var errRange = errors.New("the server does not have the rest")

func (f *fetch) get(ctx context.Context, resume *part) (received, error) {
	req, err := f.request(ctx, resume)
	if err != nil {
		return received{}, err
	}
	resp, err := f.client.Do(req.WithContext(withVisit(ctx)))
	if err != nil {
		return received{}, stripURL(err)
	}
	defer resp.Body.Close()
	g := received{etag: validator(resp, "ETag"), lastModified: validator(resp, "Last-Modified")}
	conditional := req.Header.Get("If-None-Match")+req.Header.Get("If-Modified-Since") != ""
	switch {
	case resp.StatusCode == http.StatusNotModified && conditional:
		return received{unchanged: true, etag: f.known.ETag, lastModified: f.known.LastModified}, nil
	case resp.StatusCode == http.StatusPartialContent && resume != nil:
		if err := f.checkRange(resp, resume); err != nil {
			return received{}, fmt.Errorf("%w: %w", errRange, err)
		}
		return g, f.receive(resp, resume.Size, resume.Encoding)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && resume != nil:
		return received{}, errRange
	case resp.StatusCode == http.StatusOK:
		return g, f.receive(resp, 0, resp.Header.Get("Content-Encoding"))
	}
	return received{}, &statusError{status: resp.Status, retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"))}
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
	if !f.force && f.known.URL == f.url {
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

// storedPart returns the part of an earlier attempt that can be resumed, or nil.
func (f *fetch) storedPart() *part {
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

// checkRange checks that a partial response begins where the part ends, and is of the
// same content (RFC 9110 section 15.3.7).
func (f *fetch) checkRange(resp *http.Response, p *part) error {
	var first, last int64
	header := resp.Header.Get("Content-Range")
	if _, err := fmt.Sscanf(header, "bytes %d-%d/", &first, &last); err != nil || first != p.Size {
		return fmt.Errorf("it sent range %q instead of one from %d", header, p.Size)
	}
	if e := resp.Header.Get("ETag"); strings.HasPrefix(p.Validator, `"`) && e != "" && e != p.Validator {
		return fmt.Errorf("it sent a range of %s instead of %s", e, p.Validator)
	}
	return nil
}

// validator returns a response header that identifies the content, if it can be stored
// and sent back.
func validator(resp *http.Response, name string) string {
	if v := resp.Header.Get(name); len(v) <= maxValidator && headerText(v) {
		return v
	}
	return ""
}

const maxValidator = 1024 // bytes

// getSmall fetches a small file that belongs to the list, such as its signature.
func (f *fetch) getSmall(ctx context.Context, url string, limit int64) ([]byte, error) {
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
	resp, err := f.client.Do(req.WithContext(withVisit(ctx)))
	if err != nil {
		return nil, stripURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{status: resp.Status, retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"))}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, err
}

// parseRetryAfter reads the header in seconds or as a date (RFC 9110 section 10.2.3).
func parseRetryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

func removeIfExists(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// baseName returns the last element of a URL's path.
func baseName(u string) string { return path.Base(redact(u)) }
