package updater

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nameroute/nameroute/gateway"
)

// take stores the body behind the first bytes of the part and unpacks it.
func (f *fetch) take(resp *http.Response, from int64, encoding string) error {
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if encoding != "" && encoding != "identity" && encoding != "gzip" && encoding != "x-gzip" {
		return fmt.Errorf("the server sent it in content encoding %s, which was not asked for", encoding)
	}
	if resp.ContentLength > f.source.MaxSize-from {
		return tooLarge(f.source, from+resp.ContentLength)
	}
	if from == 0 {
		// What was remembered of this file is not true of it any more.
		if err := f.remember(nil); err != nil {
			return err
		}
	}
	out, err := os.OpenFile(f.store.part(f.source.List), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	f.cut = nil
	if err := out.Truncate(from); err != nil {
		return err
	}
	if _, err := out.Seek(from, io.SeekStart); err != nil {
		return err
	}
	kept := f.resumes(resp, encoding)
	size, readErr, err := f.copy(out, resp, from, kept)
	if err == nil && readErr != nil {
		if kept != nil && size > 0 && out.Sync() == nil {
			kept.Size = size
			f.cut = kept
		}
		return fmt.Errorf("the download was cut after %d bytes: %w", size, readErr)
	}
	if err != nil {
		return err
	}
	return f.unpack(out, encoding)
}

// keepEvery is how often a download that lasts is made sure of, so that who comes after
// a kill or a power cut can go on with it.
const keepEvery = time.Second

// copy tells apart what the network did and what the disk did. It remembers what a
// later process can go on with, unless kept is nil.
func (f *fetch) copy(out *os.File, resp *http.Response, size int64, kept *part) (_ int64, readErr, err error) {
	total := int64(-1)
	if resp.ContentLength >= 0 {
		total = size + resp.ContentLength
	}
	buf := make([]byte, 64<<10)
	for keep := time.Now().Add(keepEvery); ; {
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
		if kept != nil && size > 0 && time.Now().After(keep) {
			if err := f.makeSure(out, *kept, size); err != nil {
				return size, nil, err
			}
			keep = time.Now().Add(keepEvery)
		}
	}
}

// makeSure remembers that so many bytes are on disk, once they are.
func (f *fetch) makeSure(out *os.File, p part, size int64) error {
	if err := out.Sync(); err != nil {
		return err
	}
	p.Size = size
	return f.remember(&p)
}

func tooLarge(s gateway.Source, size int64) error {
	return &refusal{fmt.Sprintf("it has %d bytes or more, above max_size %d", size, s.MaxSize)}
}

// resumes is what must be known of a download to go on with it when it is cut, or nil
// where the server cannot. Only a strong validator proves that the rest belongs to it
// (RFC 9110 section 13.1.5).
func (f *fetch) resumes(resp *http.Response, encoding string) *part {
	proof := validator(resp, "ETag")
	if !strings.HasPrefix(proof, `"`) {
		proof = validator(resp, "Last-Modified")
	}
	ranges := resp.StatusCode == http.StatusPartialContent || resp.Header.Get("Accept-Ranges") == "bytes"
	if proof == "" || !ranges {
		return nil
	}
	return &part{URL: f.url, Validator: proof, Encoding: encoding}
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
