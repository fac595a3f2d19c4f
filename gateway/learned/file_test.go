package learned

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var someLearned = []saved{
	{"vpn", addr("8.8.8.8"), time.Hour, []string{"a.example.", `b\ c.example.`}},
	{"vpn", addr("2606:4700::1"), time.Minute, nil},
	{"office", addr("9.9.9.9"), 25 * time.Hour, []string{"d.example."}},
}

func stored(t *testing.T, now time.Time, all []saved) string {
	t.Helper()
	var b bytes.Buffer
	if err := writeFile(&b, now, all); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLearnedFile(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	file := stored(t, at, someLearned)
	want := "nameroute learned 1\t1777636800\n" +
		"vpn\t8.8.8.8\t1777640400\ta.example.\tb\\ c.example.\n" +
		"vpn\t2606:4700::1\t1777636860\n" +
		"office\t9.9.9.9\t1777726800\td.example.\n" +
		"end\t3\t"
	if !strings.HasPrefix(file, want) {
		t.Errorf("got\n%s\nwant\n%s", file, want)
	}
	unset := stored(t, time.Unix(100, 0), someLearned)
	for _, c := range []struct {
		name, file string
		now        time.Time
		want       []time.Duration
	}{
		{"at once", file, at, []time.Duration{time.Hour, time.Minute, 24 * time.Hour}},
		{"after ten minutes", file, at.Add(10 * time.Minute), []time.Duration{50 * time.Minute, 24 * time.Hour}},
		{"after two days", file, at.Add(48 * time.Hour), nil},
		{"the clock is not set yet", file, time.Unix(3, 0), []time.Duration{time.Hour, time.Minute, 24 * time.Hour}},
		{"the clock was set back", file, at.Add(-time.Minute), []time.Duration{time.Hour, time.Minute, 24 * time.Hour}},
		{"the clock was not set when it was written", unset, at, []time.Duration{time.Hour, time.Minute, 24 * time.Hour}},
		{"nor is it now", unset, time.Unix(50, 0), []time.Duration{time.Hour, time.Minute, 24 * time.Hour}},
		{"empty", stored(t, at, nil), at, nil},
	} {
		got, err := readFile(strings.NewReader(c.file), c.now, 24*time.Hour)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var left []time.Duration
		for _, r := range got {
			left = append(left, r.left)
		}
		if diff := cmp.Diff(c.want, left); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	got, err := readFile(strings.NewReader(file), at, 48*time.Hour)
	if diff := cmp.Diff(someLearned, got, cmp.AllowUnexported(saved{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestLearnedFileThatIsNotOurs(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	file := stored(t, at, someLearned)
	lines := strings.SplitAfter(file, "\n")
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "not a whole file of learned addresses"},
		{"another's", "PK\x03\x04\xff", `not a whole file of learned addresses: it begins "PK\x03\x04"`},
		{"a later version's", strings.Replace(file, "learned 1", "learned 2", 1), `not a whole file of learned addresses: it begins "nameroute learned 2\t1777636800"`},
		{"cut off", file[:len(file)-20], "not a whole file of learned addresses: it has no end"},
		{"cut off at a line", strings.Join(lines[:3], ""), "not a whole file of learned addresses: it has no end"},
		{"a line less", lines[0] + strings.Join(lines[2:], ""), "not a whole file of learned addresses: its lines do not add up"},
		{"a bit flipped", strings.Replace(file, "9.9.9.9", "9.9.9.8", 1), "not a whole file of learned addresses: its lines do not add up"},
		{"goes on", file + "vpn\t1.1.1.1\t1777640400\n", "not a whole file of learned addresses: it goes on after its end"},
		{"an endless line", lines[0] + strings.Repeat("x", 1<<20), "not a whole file of learned addresses: it has no end"},
		{"no address", lines[0] + "vpn\thello\t1\n", "not a whole file of learned addresses: line 2: ParseAddr(\"hello\"): unable to parse IP"},
		{"no seconds", lines[0] + "vpn\t1.1.1.1\tx\n", "not a whole file of learned addresses: line 2: strconv.ParseInt: parsing \"x\": invalid syntax"},
		{"a zone", lines[0] + "vpn\tfe80::1%eth0\t1\n", "not a whole file of learned addresses: line 2: address fe80::1%eth0"},
	} {
		got, err := readFile(strings.NewReader(c.file), at, time.Hour)
		if fmt.Sprint(err) != c.want || !errors.Is(err, ErrForeign) || got != nil {
			t.Errorf("%s: %d addresses, %v\nwant %s", c.name, len(got), err, c.want)
		}
	}
}

func FuzzLearned(f *testing.F) {
	at := time.Unix(1_777_636_800, 0)
	const header = "nameroute learned 1\t1777636800\n"
	f.Add("vpn\t8.8.8.8\t1777640400\ta.example.\tb\\ c.example.\n")
	f.Add("vpn\t2606:4700::1\t99999999999999\n\n")
	f.Add("end\t9.9.9.9\t1777640400\nend\t1\t0\n")
	f.Fuzz(func(t *testing.T, lines string) {
		// The end is right, so that the reader has to judge by the lines.
		body := header + lines
		file := fmt.Sprintf("%s\nend\t%d\t%08x\n", body, strings.Count(lines, "\n")+1, crc32.ChecksumIEEE([]byte(body+"\n")))
		if lines == "" || strings.HasSuffix(lines, "\n") {
			file = fmt.Sprintf("%send\t%d\t%08x\n", body, strings.Count(lines, "\n"), crc32.ChecksumIEEE([]byte(body)))
		}
		all, err := readFile(strings.NewReader(file), at, time.Hour)
		if err != nil && (all != nil || !errors.Is(err, ErrForeign)) {
			t.Fatal(all, err)
		}
		for _, r := range all {
			if r.left <= 0 || r.left > time.Hour || !r.addr.IsValid() || r.route == "" || len(r.names) > maxNames {
				t.Fatalf("%+v", r)
			}
		}
		var again bytes.Buffer
		if err := writeFile(&again, at, all); err != nil {
			t.Fatal(err)
		}
		back, err := readFile(&again, at, time.Hour)
		if err != nil || len(back) != len(all) {
			t.Fatalf("%d of %d are read back: %v", len(back), len(all), err)
		}
	})
}
