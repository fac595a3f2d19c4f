package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryMax(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	write("system.slice/memory.max", "max\n")
	write("system.slice/nameroute.service/memory.max", "268435456\n")
	write("small.slice/memory.max", "1000\n")
	write("small.slice/nameroute.service/memory.max", "2000\n")
	write("free.slice/memory.max", "max\n")
	for group, want := range map[string]int64{
		"0::/system.slice/nameroute.service\n":                         268435456,
		"0::/small.slice/nameroute.service\n":                          1000,
		"12:memory:/other\n0::/system.slice/nameroute.service/below\n": 268435456,
		"0::/free.slice\n":                                             0,
		"0::/gone\n":                                                   0,
		"0::/\n":                                                       0,
		"12:memory:/small.slice\n":                                     0,
		"":                                                             0,
	} {
		most, ok := memoryMax(write("cgroup", group), root)
		if ok != (want > 0) || ok && most != want {
			t.Errorf("%q: %d, %v; want %d", group, most, ok, want)
		}
	}
	if most, ok := memoryMax(filepath.Join(root, "none"), root); ok {
		t.Errorf("without the file: %d", most)
	}
}
