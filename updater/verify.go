package updater

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"aead.dev/minisign"
)

const (
	maxSums      = 1 << 20 // bytes of a SHA256SUMS file
	maxSignature = 4 << 10
)

// sum is the SHA-256 that the publisher says the list has; "" where none is asked for.
func (f *fetch) sum(ctx context.Context) (string, error) {
	if f.source.SHA256URL == "" {
		return "", nil
	}
	text, err := f.small(ctx, f.source.SHA256URL, maxSums)
	if err != nil {
		return "", fmt.Errorf("sha256_url: %w", err)
	}
	sum, ok := findSum(text, baseName(f.url))
	if !ok {
		return "", fmt.Errorf("sha256_url: no SHA-256 of %s in it", baseName(f.url))
	}
	return sum, nil
}

// findSum takes a file's SHA-256 out of the output of sha256sum(1), plain or with
// --tag, or of a bare sum. A sum without a name, or the only one there is, is taken
// for that of the file.
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

// signed checks the signature of the fresh content. aead.dev/minisign hashes while it
// reads, so that a list of any size is checked in little memory; of the standard
// library's Ed25519 alone we would have to write the file format ourselves.
func (f *fetch) signed(ctx context.Context) error {
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
	signature, err := f.small(ctx, at, maxSignature)
	if err != nil {
		return fmt.Errorf("signature %s: %w", shownText(at), err)
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(s.Key)); err != nil {
		return fmt.Errorf("signature: %w", err)
	}
	var said minisign.Signature
	if err := said.UnmarshalText(signature); err != nil {
		return &refusal{fmt.Sprintf("%s is not a signature of minisign", shownText(at))}
	}
	in, err := os.Open(f.store.fresh(f.source.List))
	if err != nil {
		return err
	}
	defer in.Close()
	r := minisign.NewReader(in)
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	switch {
	case said.KeyID != key.ID():
		return &refusal{fmt.Sprintf("it is signed with key %X, want %X", said.KeyID, key.ID())}
	case said.Algorithm != minisign.HashEdDSA:
		return &refusal{"its signature is of the old kind: want one of minisign 0.10 or later without -l"}
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
