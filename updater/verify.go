package updater

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"aead.dev/minisign"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

const (
	maxSums      = 1 << 20 // bytes of a SHA256SUMS file
	maxSignature = 4 << 10
)

// publishedSum fetches the SHA-256 that the list must have; "" where none is configured.
func (f *fetch) publishedSum(ctx context.Context) (string, error) {
	if f.source.SHA256URL == "" {
		return "", nil
	}
	text, err := f.getSmall(ctx, f.source.SHA256URL, maxSums)
	if err != nil {
		return "", fmt.Errorf("sha256_url: %w", err)
	}
	sum, ok := findSum(text, baseName(f.url))
	if !ok {
		return "", fmt.Errorf("sha256_url: it has no SHA-256 of %s", baseName(f.url))
	}
	return sum, nil
}

// findSum finds a file's SHA-256 in the output of sha256sum(1), plain or with --tag, or
// in a bare sum. A sum without a name, or the only one, counts as that of the file.
func findSum(text []byte, file string) (string, bool) {
	var sums []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		sum, name := splitSum(lines.Text())
		if sum == "" {
			continue
		}
		if name == file || strings.HasSuffix(name, "/"+file) {
			return sum, true
		}
		sums = append(sums, sum)
	}
	if lines.Err() == nil && len(sums) == 1 {
		return sums[0], true
	}
	return "", false
}

func splitSum(line string) (sum, name string) {
	line = strings.TrimSpace(line)
	if tag, ok := strings.CutPrefix(line, "SHA256 ("); ok {
		if at := strings.LastIndex(tag, ") = "); at >= 0 {
			name, line = tag[:at], tag[at+len(") = "):]
		}
	}
	sum, rest, _ := strings.Cut(line, " ")
	if sum = strings.ToLower(sum); !isSum(sum) {
		return "", ""
	}
	if name == "" {
		name = strings.TrimLeft(rest, " *")
	}
	return sum, name
}

// verifySignature checks the signature of the incoming content, if one is configured.
// aead.dev/minisign hashes while it reads, so that a list of any size needs little
// memory.
func (f *fetch) verifySignature(ctx context.Context) error {
	s := f.source.Signature
	if s.Key == "" {
		return nil
	}
	at := s.URL
	if at == "" {
		u, err := url.Parse(f.url)
		if err != nil {
			return err
		}
		u.Path, u.RawPath = u.Path+".minisig", ""
		at = u.String()
	}
	signature, err := f.getSmall(ctx, at, maxSignature)
	if err != nil {
		return fmt.Errorf("signature %s: %w", redact(at), err)
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(s.Key)); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	var parsed minisign.Signature
	if err := parsed.UnmarshalText(signature); err != nil {
		return &refusal{fmt.Sprintf("%s is not a minisign signature", redact(at))}
	}
	in, err := statefile.Open(f.store.incoming(f.source.List))
	if err != nil {
		return err
	}
	defer in.Close()
	r := minisign.NewReader(in)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	switch {
	case parsed.KeyID != key.ID():
		return &refusal{fmt.Sprintf("it is signed with key %X, want %X", parsed.KeyID, key.ID())}
	case parsed.Algorithm != minisign.HashEdDSA:
		return &refusal{"its signature is of the legacy kind: want one of minisign 0.10 or later without -l"}
	case !r.Verify(key, signature):
		return &refusal{"its signature is wrong"}
	}
	return nil
}

func sameHost(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	return err == nil && err2 == nil && u.Scheme == v.Scheme && strings.EqualFold(u.Host, v.Host)
}
