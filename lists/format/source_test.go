package format

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseSource(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.dat"), "x")
	write(t, filepath.Join(dir, "b:c"), "x")
	if err := os.Mkdir(filepath.Join(dir, "dlc"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := dir + "/"
	for _, tt := range []struct {
		file string
		want Source
	}{
		{d + "a.dat", Source{Path: d + "a.dat"}},
		{d + "a.dat:cn@!ads", Source{Path: d + "a.dat", Selector: "cn@!ads"}},
		{d + "b:c", Source{Path: d + "b:c"}}, // a file that really has the name
		{d + "dlc:Net", Source{Path: d + "dlc/net", Selector: "Net", Dir: d + "dlc"}},
		{d + "dlc:net@x", Source{Path: d + "dlc/net", Selector: "net@x", Dir: d + "dlc"}},
		{d + "gone.dat:cn", Source{Path: d + "gone.dat", Selector: "cn"}},
		{"C:cn", Source{Path: "C:cn"}},
		{d + "l:cn", Source{Path: d + "l", Selector: "cn"}},
		{d + ":cn", Source{Path: d + ":cn"}},
		{d + "a.dat:../x", Source{Path: d + "a.dat:../x"}},
		{d + "a.dat:..", Source{Path: d + "a.dat:.."}},
		{d + "a.dat:", Source{Path: d + "a.dat:"}},
		{d + "x:y/a.dat", Source{Path: d + "x:y/a.dat"}},
	} {
		if got := ParseSource(tt.file); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.file, got, tt.want)
		}
	}
	_, _, err := readFile(d + "a.dat:cn")
	if want := `"cn" after the colon: a file of format plain has no parts to choose from`; err == nil || err.Error() != want {
		t.Errorf("a selection of a plain list: %v", err)
	}
}
