package updater

import (
	"compress/gzip"
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

	cut *part // set where the download was cut and can be resumed
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

// run fetches. On return of an error f.cut says whether a later try can resume.
func (f *fetch) run(ctx context.Context) (got, error) {
	resume := f.resumable()
	g, err := f.get(ctx, resume)
	if resume != nil && errors.Is(err, errRange) {
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
		f.cut = resume
		return got{}, plainError(err)
	}
	defer resp.Body.Close()
	g := got{etag: resp.Header.Get("ETag"), lastModified: resp.Header.Get("Last-Modified")}
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
	f.cut = resume
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

// take stores the body behind the first bytes of the part and unpacks it.
func (f *fetch) take(resp *http.Response, from int64, encoding string) error {
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if encoding != "" && encoding != "identity" && encoding != "gzip" && encoding != "x-gzip" {
		return fmt.Errorf("the server sent it in content encoding %s, which was not asked for", encoding)
	}
	if resp.ContentLength > f.source.MaxSize-from {
		return tooLarge(f.source, from+resp.ContentLength)
	}
	out, err := os.OpenFile(f.store.part(f.source.List), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(from); err != nil {
		return err
	}
	if _, err := out.Seek(from, io.SeekStart); err != nil {
		return err
	}
	size, readErr, err := f.copy(out, resp, from)
	if err == nil && readErr != nil {
		f.keepPart(resp, out, size, encoding)
		return fmt.Errorf("the download was cut after %d bytes: %w", size, readErr)
	}
	if err != nil {
		return err
	}
	return f.unpack(out, encoding)
}

// copy tells apart what the network did and what the disk did.
func (f *fetch) copy(out io.Writer, resp *http.Response, size int64) (_ int64, readErr, err error) {
	total := int64(-1)
	if resp.ContentLength >= 0 {
		total = size + resp.ContentLength
	}
	buf := make([]byte, 64<<10)
	for {
		n, readErr := resp.Body.Read(buf)
		if size += int64(n); size > f.source.MaxSize {
			return size, nil, tooLarge(f.source, size)
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return size, nil, err
		}
		if f.progress != nil {
			f.progress(size, total)
		}
		if errors.Is(readErr, io.EOF) {
			return size, nil, nil
		}
		if readErr != nil {
			return size, plainError(readErr), nil
		}
	}
}

func tooLarge(s gateway.Source, size int64) error {
	return &refusal{fmt.Sprintf("it has %d bytes or more, above max_size %d", size, s.MaxSize)}
}

// keepPart remembers a download that was cut, where the server can go on with it. Only
// a strong validator proves that the rest belongs to it (RFC 9110 section 13.1.5).
func (f *fetch) keepPart(resp *http.Response, out *os.File, size int64, encoding string) {
	validator := resp.Header.Get("ETag")
	if !strings.HasPrefix(validator, `"`) {
		validator = resp.Header.Get("Last-Modified")
	}
	ranges := resp.StatusCode == http.StatusPartialContent || resp.Header.Get("Accept-Ranges") == "bytes"
	if validator == "" || !headerText(validator) || !ranges || size == 0 || out.Sync() != nil {
		return
	}
	f.cut = &part{URL: f.url, Validator: validator, Encoding: encoding, Size: size}
}

// unpack makes a complete download the fresh content.
func (f *fetch) unpack(in *os.File, encoding string) error {
	fresh := f.store.fresh(f.source.List)
	if encoding == "" || encoding == "identity" {
		if err := errors.Join(in.Chmod(0o644), in.Sync()); err != nil {
			return err
		}
		return os.Rename(in.Name(), fresh)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = f.gunzip(out, in)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, removeIfThere(fresh))
	}
	return os.Remove(in.Name())
}

func (f *fetch) gunzip(out io.Writer, in io.Reader) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	n, err := io.Copy(out, io.LimitReader(z, f.source.MaxSize+1))
	if n > f.source.MaxSize {
		return &refusal{fmt.Sprintf("it unpacks to more than max_size %d", f.source.MaxSize)}
	}
	var disk *fs.PathError
	if err != nil && !errors.As(err, &disk) {
		return fmt.Errorf("unpack: %w", err)
	}
	return err
}

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
