package nft

import (
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
)

// Stands reports whether our nft table is in the kernel, whoever put it there. It
// needs no privilege and changes nothing.
func Stands() (bool, error) {
	r, err := openReader()
	if err != nil {
		return false, err
	}
	defer r.close()
	t, err := r.table(unix.NFPROTO_INET, gateway.TableName)
	return t.exists, err
}
