package lists

import _ "embed"

// Demo is the small list that the demo and the tests of other packages use. It
// holds reserved names only (RFC 2606). Treat it as read-only.
//
//go:embed demo.txt
var Demo []byte
