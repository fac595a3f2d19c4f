package format

import (
	"io"
	"strings"

	"github.com/nameroute/nameroute/lists/format/ruleset"
)

// srs is the binary form of sing-box's rule-sets. Its rules are read as those of singbox.
type srs struct{}

func (srs) name() string { return "srs" }

func (srs) suits(file string) bool { return strings.HasSuffix(file, ".srs") }

func (srs) sniff(head []byte) int { return allIf(ruleset.IsSRS(head), head) }

func (srs) parse(r io.Reader, s *Sink) error { return ruleset.ReadSRS(r, s.putRule) }
