package lists

import _ "embed"

// Demo is the small list of the demo and of tests. It holds reserved names only (RFC 2606).
// It must not be changed.
//
//go:embed demo.txt
var Demo []byte
