// Package synthetic generates names for benchmarks.
package synthetic

import (
	"fmt"
	"math/rand/v2"
)

// Names returns n different names of two to three labels, of the lengths that real lists
// have.
func Names(n int) []string {
	r := rand.New(rand.NewPCG(1, 2))
	tlds := []string{"com", "com", "com", "net", "org", "cn", "com.cn", "io", "co.uk", "info"}
	names := make([]string, n)
	for i := range names {
		b := make([]byte, 4+r.IntN(12))
		for k := range b {
			b[k] = "abcdefghijklmnopqrstuvwxyz0123456789"[r.IntN(36)]
		}
		names[i] = fmt.Sprintf("%s%x.%s", b, i, tlds[r.IntN(len(tlds))])
	}
	return names
}
