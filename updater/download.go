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
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// receive appends the body to the first bytes of the part and decompresses the result.
func (f *fetch) receive(resp *http.Response, from int64, encoding string) error {
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if encoding != "" && encoding != "identity" && encoding != "gzip" && encoding != "x-gzip" {
		return fmt.Errorf("the server sent content encoding %s, which was not requested", encoding)
	}
	if resp.ContentLength > f.source.MaxSize-from {
		return tooLarge(f.source, from+resp.ContentLength)
	}
	if from == 0 {
		// The stored progress does not describe this file any more.
		if err := f.savePart(nil); err != nil {
			return err
		}
	}
	out, err := statefile.OpenFile(f.store.part(f.source.List), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	f.part = nil
	if err := out.Truncate(from); err != nil {
		return err
	}
	if _, err := out.Seek(from, io.SeekStart); err != nil {
		return err
	}
	resume := f.resumablePart(resp, encoding)
	size, readErr, err := f.copyBody(out, resp, from, resume)
	if err == nil && readErr != nil {
		if resume != nil && size > 0 && out.Sync() == nil {
			resume.Size = size
			f.part = resume
		}
		return fmt.Errorf("the download was interrupted after %d bytes: %w", size, readErr)
	}
	if err != nil {
		return err
	}
	return f.decompress(out, encoding)
}

// syncEvery is how often the progress of a download is stored, so that it can be resumed
// after a kill or a power cut.
const syncEvery = time.Second

// copyBody returns errors of the network and of the disk apart. It stores what a later
// process can resume, unless resume is nil.
func (f *fetch) copyBody(out *os.File, resp *http.Response, size int64, resume *part) (_ int64, readErr, err error) {
	total := int64(-1)
	if resp.ContentLength >= 0 {
		total = size + resp.ContentLength
	}
	buf := make([]byte, 64<<10)
	for next := time.Now().Add(syncEvery); ; {
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
			return size, stripURL(readErr), nil
		}
		if resume != nil && size > 0 && time.Now().After(next) {
			if err := f.syncPart(out, *resume, size); err != nil {
				return size, nil, err
			}
			next = time.Now().Add(syncEvery)
		}
	}
}

// syncPart syncs the download to disk and stores its size.
func (f *fetch) syncPart(out *os.File, p part, size int64) error {
	if err := out.Sync(); err != nil {
		return err
	}
	p.Size = size
	return f.savePart(&p)
}

func tooLarge(s gateway.Source, size int64) error {
	return &refusal{fmt.Sprintf("it has %d bytes or more, above max_size %d", size, s.MaxSize)}
}

// resumablePart returns what is needed to resume a download that is interrupted, or nil
// where the server cannot. Only a strong validator proves that the rest belongs to it
// (RFC 9110 section 13.1.5).
func (f *fetch) resumablePart(resp *http.Response, encoding string) *part {
	strong := validator(resp, "ETag")
	if !strings.HasPrefix(strong, `"`) {
		strong = validator(resp, "Last-Modified")
	}
	ranges := resp.StatusCode == http.StatusPartialContent || resp.Header.Get("Accept-Ranges") == "bytes"
	if strong == "" || !ranges {
		return nil
	}
	return &part{URL: f.url, Validator: strong, Encoding: encoding}
}

// decompress makes a complete download the incoming content.
func (f *fetch) decompress(in *os.File, encoding string) error {
	incoming := f.store.incoming(f.source.List)
	if encoding == "" || encoding == "identity" {
		if err := errors.Join(in.Chmod(0o644), in.Sync()); err != nil {
			return err
		}
		return os.Rename(in.Name(), incoming)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := statefile.OpenFile(incoming, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = f.gunzip(out, in)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, removeIfExists(incoming))
	}
	return os.Remove(in.Name())
}

func (f *fetch) gunzip(out io.Writer, in io.Reader) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("decompress: %w", err)
	}
	n, err := io.Copy(out, io.LimitReader(z, f.source.MaxSize+1))
	if n > f.source.MaxSize {
		return &refusal{fmt.Sprintf("it decompresses to more than max_size %d", f.source.MaxSize)}
	}
	var disk *fs.PathError
	if err != nil && !errors.As(err, &disk) {
		return fmt.Errorf("decompress: %w", err)
	}
	return err
}
