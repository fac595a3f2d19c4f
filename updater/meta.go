package updater

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/google/renameio/v2"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// meta is the metadata of a list. What it says about the content counts only while
// SHA256 is that of the file in place.
type meta struct {
	SHA256  string    `json:"sha256,omitempty"` // hex; "" for no content
	Rules   int       `json:"rules,omitempty"`
	URL     string    `json:"url,omitempty"`     // where the content came from; "" for the shipped copy
	Shipped bool      `json:"shipped,omitempty"` // the content came with the package
	Fetched time.Time `json:"fetched,omitzero"`  // when the content came
	Checked time.Time `json:"checked,omitzero"`  // when a server last had nothing newer

	ETag         string `json:"etag,omitempty"`          // of the server's content, as it was sent
	LastModified string `json:"last_modified,omitempty"` // of the server's content, as it was sent
	Rejected     string `json:"rejected,omitempty"`      // SHA-256 of the version that was rolled back: not accepted again

	Next     time.Time `json:"next,omitzero"` // no scheduled fetch before
	Failures int       `json:"failures,omitempty"`
	Error    string    `json:"error,omitempty"` // of the last fetch; "" where it succeeded
	Part     *part     `json:"part,omitempty"`
}

// part is an interrupted download that can be resumed.
type part struct {
	URL       string `json:"url"`
	Validator string `json:"validator"` // a strong ETag or a date, for If-Range
	Encoding  string `json:"encoding,omitempty"`
	Size      int64  `json:"size"` // bytes that are synced to disk
}

// maxMeta bounds a metadata file, in bytes.
const maxMeta = 64 << 10

// readMeta reads a metadata file. A missing file is empty metadata. An error says why a
// file cannot be used.
func readMeta(file string) (meta, error) {
	f, err := statefile.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMeta+1))
	if err != nil {
		return meta{}, err
	}
	m, err := parseMeta(data)
	if err != nil {
		return meta{}, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

func parseMeta(data []byte) (meta, error) {
	if len(data) > maxMeta {
		return meta{}, fmt.Errorf("more than %d bytes", maxMeta)
	}
	var m meta
	if err := json.Unmarshal(data, &m); err != nil {
		return meta{}, err
	}
	for _, sum := range []string{m.SHA256, m.Rejected} {
		if sum != "" && !isSum(sum) {
			return meta{}, fmt.Errorf("%q is not a SHA-256", sum)
		}
	}
	switch {
	case m.Rules < 0 || m.Failures < 0:
		return meta{}, errors.New("a negative count")
	case !headerText(m.ETag) || !headerText(m.LastModified):
		return meta{}, errors.New("a validator that no header can carry")
	case m.Part != nil && (m.Part.Size <= 0 || m.Part.Validator == "" || !headerText(m.Part.Validator)):
		return meta{}, errors.New("a part that cannot be resumed")
	}
	return m, nil
}

// isSum reports whether s is a SHA-256 in lower-case hex.
func isSum(s string) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == 32 && hex.EncodeToString(raw) == s
}

// headerText reports whether a header can carry s as it is: net/http refuses anything
// else each time, and such a list would never be fetched again.
func headerText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// knows reports whether content with this SHA-256 is in use already, or was rolled back.
func (m meta) knows(sum string) bool { return sum == m.SHA256 || sum == m.Rejected }

// write stores the metadata.
func (m meta) write(file string) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	// URLs may hold tokens: only the owner can read the file.
	return renameio.WriteFile(file, append(data, '\n'), 0o600)
}
