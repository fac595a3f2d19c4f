package nftsim

import "testing"

func FuzzVerdict(f *testing.F) {
	f.Add([]byte{8, 0, 1, 0, 0xff, 0xff, 0xff, 0xfd, 8, 0, 2, 0, 'l', 'a', 'n', 0})
	f.Fuzz(func(_ *testing.T, data []byte) { parseVerdict(data) })
}
