package nft

import (
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// Stands reports whether our nft table, or its twin, is in the kernel, whoever put it
// there. It needs no privilege and changes nothing.
func Stands() (bool, error) {
	r, err := openReader()
	if err != nil {
		return false, err
	}
	defer r.close()
	for _, name := range []string{gateway.TableName, twinOf(gateway.TableName)} {
		if t, err := r.table(unix.NFPROTO_INET, name); err != nil || t.exists {
			return t.exists, err
		}
	}
	return false, nil
}
