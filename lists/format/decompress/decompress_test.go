package decompress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func gzipTo(t *testing.T, w io.Writer, text string) {
	t.Helper()
	z := gzip.NewWriter(w)
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func zstdTo(t *testing.T, w io.Writer, text string) {
	t.Helper()
	z, err := zstd.NewWriter(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func xzTo(t *testing.T, w io.Writer, text string, check byte) {
	t.Helper()
	z, err := xz.WriterConfig{CheckSum: check, BlockSize: 64 << 10}.NewWriter(w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(z, text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

func packed(t *testing.T, text string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for name, pack := range map[string]func(io.Writer){
		"gzip":     func(w io.Writer) { gzipTo(t, w, text) },
		"zstd":     func(w io.Writer) { zstdTo(t, w, text) },
		"xz crc64": func(w io.Writer) { xzTo(t, w, text, xz.CRC64) },
		"xz crc32": func(w io.Writer) { xzTo(t, w, text, xz.CRC32) },
		"xz sha":   func(w io.Writer) { xzTo(t, w, text, xz.SHA256) },
	} {
		var b bytes.Buffer
		pack(&b)
		all[name] = b.Bytes()
	}
	return all
}

// read decompresses all of data.
func read(data []byte) (string, error) {
	r, err := Reader(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), err
}

func TestReader(t *testing.T) {
	text := strings.Repeat("0.0.0.0 a.example\n", 20_000) // several blocks of xz
	if got, err := read([]byte(text)); got != text || err != nil {
		t.Errorf("uncompressed: %d bytes, %v", len(got), err)
	}
	for name, data := range packed(t, text) {
		if got, err := read(data); got != text || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		for _, n := range []int{7, len(data) / 2, len(data) * 9 / 10} {
			if _, err := read(data[:n]); err == nil {
				t.Errorf("%s cut after %d of %d bytes: no error", name, n, len(data))
			}
		}
		damaged := bytes.Clone(data)
		damaged[len(data)/3] ^= 0x10
		if got, err := read(damaged); err == nil {
			t.Errorf("%s damaged: no error, %d bytes", name, len(got))
		}
	}
}

// TestTools decompresses what the usual tools compress.
func TestTools(t *testing.T) {
	text := strings.Repeat("server=/a.example/192.0.2.1\n", 10_000)
	for _, command := range []string{"gzip -9c", "zstd -19 -qc", "xz -9c", "xz -T2 --block-size=64KiB -c", "xz --check=none -c"} {
		f := strings.Fields(command)
		if _, err := exec.LookPath(f[0]); err != nil {
			t.Logf("%s is not installed", f[0])
			continue
		}
		tool := exec.Command(f[0], f[1:]...)
		tool.Stdin = strings.NewReader(text)
		data, err := tool.Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if got, err := read(data); got != text || err != nil {
			t.Errorf("%s: %d bytes, %v", command, len(got), err)
		}
	}
}

// TestBomb decompresses more than may come out.
func TestBomb(t *testing.T) {
	const most = 16 << 20
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	chunk := bytes.Repeat([]byte("a"), 1<<20)
	for range most>>20 + 2 {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := reader(bytes.NewReader(b.Bytes()), most)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes that become %d MiB: %v", b.Len(), most>>20+2, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("the bomb allocated %d bytes", used)
	}
	if r, err := Reader(bytes.NewReader(b.Bytes())); err != nil || r.(*limited).left != MaxSize {
		t.Errorf("Reader does not stop at MaxSize: %+v, %v", r, err)
	}
}

// TestXZDictionary: a file may claim to need 4 GiB to be read.
func TestXZDictionary(t *testing.T) {
	for bits, want := range map[byte]bool{20: true, 28: true, 29: false, 40: false, 41: false} {
		if _, err := xzDictionary([]byte{2, 0, 0x21, 1, bits, 0, 0, 0}); (err == nil) != want {
			t.Errorf("dictionary code %d: %v", bits, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, seed := range [][]byte{magicGzip, magicZstd, magicXZ, {}} {
		f.Add(seed)
	}
	f.Add([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4F\x02\x00!\x01\x16\x00\x00\x00t/\xe5\xa3\x01\x00\x05hello\n\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Reader(bytes.NewReader(data))
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
		}
		_ = err // any error is fine; a panic or an endless loop is not
	})
}
