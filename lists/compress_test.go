package lists

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

func TestCompressed(t *testing.T) {
	text := strings.Repeat("0.0.0.0 a.example\n", 20_000) // several blocks of xz
	for name, data := range packed(t, text) {
		r := Report{}
		if err := parse(bytes.NewReader(data), "hosts.txt", "", &sink{report: &r}); err != nil || r.Full != 20_000 || r.Format != "hosts" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		for _, n := range []int{7, len(data) / 2, len(data) * 9 / 10} {
			if err := parse(bytes.NewReader(data[:n]), "hosts.txt", "hosts", &sink{report: &Report{}}); err == nil {
				t.Errorf("%s cut after %d of %d bytes: no error", name, n, len(data))
			}
		}
		damaged := bytes.Clone(data)
		damaged[len(data)/3] ^= 0x10
		r2 := Report{}
		if err := parse(bytes.NewReader(damaged), "hosts.txt", "hosts", &sink{report: &r2}); err == nil {
			t.Errorf("%s damaged: no error, %+v", name, r2)
		}
	}
}

// The tools that people compress with.
func TestCompressedByTools(t *testing.T) {
	text := strings.Repeat("server=/a.example/192.0.2.1\n", 10_000)
	for _, command := range []string{"gzip -9c", "zstd -19 -qc", "xz -9c", "xz -T2 --block-size=64KiB -c", "xz --check=none -c"} {
		f := strings.Fields(command)
		if _, err := exec.LookPath(f[0]); err != nil {
			t.Logf("no %s here", f[0])
			continue
		}
		tool := exec.Command(f[0], f[1:]...)
		tool.Stdin = strings.NewReader(text)
		data, err := tool.Output()
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		r := Report{}
		if err := parse(bytes.NewReader(data), "x.conf", "", &sink{report: &r}); err != nil || r.Suffix != 10_000 {
			t.Errorf("%s: %+v, %v", command, r, err)
		}
	}
}

// bomb is zeros, or one line, of more than may be unpacked.
func TestBombs(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks gigabytes")
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	chunk := bytes.Repeat([]byte("a"), 1<<20)
	for range maxInflated>>20 + 2 {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := parse(bytes.NewReader(b.Bytes()), "f", "", &sink{report: &Report{}})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errInflated) {
		t.Errorf("%d bytes that become %d MiB: %v", b.Len(), maxInflated>>20+2, err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("the bomb allocated %d bytes", used)
	}
}

// An xz file that claims to need 4 GiB to be read.
func TestXZDictionary(t *testing.T) {
	for bits, want := range map[byte]bool{20: true, 28: true, 29: false, 40: false, 41: false} {
		if _, err := xzDictionary([]byte{2, 0, 0x21, 1, bits, 0, 0, 0}); (err == nil) != want {
			t.Errorf("dictionary code %d: %v", bits, err)
		}
	}
}
