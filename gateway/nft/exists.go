package nft

import "golang.org/x/sys/unix"

// TableExists reports whether a table of family inet, or its twin, is in the kernel,
// whoever made it. It needs no privilege and changes nothing.
func TableExists(name string) (bool, error) {
	r, err := openReader()
	if err != nil {
		return false, err
	}
	defer r.close()
	for _, name := range []string{name, replicaOf(name)} {
		if t, err := r.table(unix.NFPROTO_INET, name); err != nil || t.exists {
			return t.exists, err
		}
	}
	return false, nil
}
