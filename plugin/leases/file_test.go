package leases

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dnsmasqFile is as dnsmasq 2.89 writes it, with what people's clients bring.
const dnsmasqFile = `2000000000 02:00:00:00:00:01 192.168.1.50 Printer 01:02:00:00:00:00:01
0 02:00:00:00:00:02 192.168.1.51 nas *
2000000500 06-02:00:00:00:00:03 192.168.1.52 * 01:02:00:00:00:00:03
2000000000 02:00:00:00:00:04 192.168.1.53 wpad *
43200 02:00:00:00:00:05 192.168.1.54 noclock *
1000000001 02:00:00:00:00:06 192.168.1.55 ended *
duid 00:01:00:01:2c:5e:00:00:02:00:00:00:00:99
2000000000 12345678 fd00::50 printer 00:01:00:01:aa
2000000000 T12345678 fd00::51 printer 00:01:00:01:aa
2000000000 12345679 fd00::52 * 00:01:00:01:bb
`

// keaFile4 and keaFile6 are as Kea 2.2 writes them.
const (
	keaFile4 = `address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
192.168.1.50,02:00:00:00:00:01,01:02:00:00:00:00:01,3600,2000000000,1,0,0,old,0,,0
192.168.1.50,02:00:00:00:00:01,01:02:00:00:00:00:01,3600,2000000600,1,0,0,printer.lan.,0,{ "ISC": 1&#x2c "x": 2 },0
192.168.1.51,02:00:00:00:00:02,,3600,2000000000,1,0,0,released,0,,0
192.168.1.51,02:00:00:00:00:02,,0,1999999000,1,0,0,released,0,,0
192.168.1.52,02:00:00:00:00:03,,3600,2000000000,1,0,0,declined,1,,0
192.168.1.53,02:00:00:00:00:04,,3600,2000000000,1,0,0,reclaimed,2,,0
192.168.1.54,02:00:00:00:00:05,,4294967295,4294967294,1,0,0,forever,0,,0
192.168.1.55,02:00:00:00:00:06,,3600,2000000000,1,0,0,,0,,0
192.168.1.56,02:00:00:00:00:07,,3600,2000000000,1,0,0,a&#x2cb,0,,0
`
	keaFile6 = `address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id
fd00::50,00:01:aa,3600,2000000000,1,1800,0,1,128,0,0,printer.lan.,02:00:00:00:00:01,0,,1,0,0
fd00::51,00:01:aa,3600,2000000000,1,1800,1,1,128,0,0,printer.lan.,02:00:00:00:00:01,0,,1,0,0
fd00:1::,00:01:aa,3600,2000000000,1,1800,2,1,56,0,0,printer.lan.,02:00:00:00:00:01,0,,1,0,0
`
)

// parsed is what a text holds, one line for each name.
func parsed(text string) (string, error) {
	c := content{entries: map[netip.Addr]entry{}}
	err := c.parse(strings.NewReader(text), ".lan.", false)
	all := c.list()
	slices.SortFunc(all, func(a, b entry) int { return a.addr.Compare(b.addr) })
	var out strings.Builder
	for _, e := range all {
		ends := fmt.Sprint(e.expires)
		if e.expires == never {
			ends = "never"
		}
		fmt.Fprintln(&out, e.addr, e.label, ends, e.client)
	}
	return out.String(), cmp.Or(err, c.bad)
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ name, text, want, err string }{
		{"dnsmasq", dnsmasqFile, `192.168.1.50 printer 2000000000 
192.168.1.51 nas never 
192.168.1.54 noclock never 
192.168.1.55 ended 1000000001 
fd00::50 printer 2000000000 00:01:00:01:aa
fd00::51 printer 2000000000 00:01:00:01:aa
`, ""},
		{"kea 4", keaFile4, "192.168.1.50 printer 2000000600 \n192.168.1.54 forever never \n", ""},
		{"kea 6", keaFile6, "fd00::50 printer 2000000000 00:01:aa\nfd00::51 printer 2000000000 00:01:aa\n", ""},
		{"kea in another order", "address,expire,hostname,valid_lifetime\n192.168.1.2,2000000000,tv,60\n", "192.168.1.2 tv 2000000000 \n", ""},
		{"empty", "", "", ""},
		{"CRLF", "2000000000 aa 192.168.1.2 tv *\r\n", "192.168.1.2 tv 2000000000 \n", ""},
		{"still being written", "2000000000 aa 192.168.1.2 tv *\n2000000000 aa 192.168.1.2", "192.168.1.2 tv 2000000000 \n", ""},
		{"one bad line", "2000000000 aa 192.168.1.2 tv *\n2000000000 aa 192.168.1.300 tv *\nx y z\n", "192.168.1.2 tv 2000000000 \n",
			`line 2: address "192.168.1.300": want an IPv4 or IPv6 address`},
		{"a bad expiry", "never aa 192.168.1.2 tv *\n0 aa 192.168.1.3 tv *\n", "192.168.1.3 tv never \n", `line 1: expiry "never": want seconds since 1970`},
		{"foreign", "# hosts\n127.0.0.1 localhost\n", "", "neither a dnsmasq lease file nor one of Kea: line 1: 2 fields: want expiry, hardware address, address, name, client"},
		{"kea without names", "address,expire\n", "", "the first line looks like a Kea header but lacks one of address, valid_lifetime, expire, hostname"},
		{"kea bad", "address,valid_lifetime,expire,hostname\n1.2.3,1,1,a\n1.2.3.4,x,1,a\n", "", `line 2: address "1.2.3": want an IPv4 or IPv6 address`},
		{"kea short", "address,valid_lifetime,expire,hostname\n1.2.3.4\n", "", `line 2: valid_lifetime "": want seconds`},
		{"binary", "\x00\x01\x02\n", "", "neither a dnsmasq lease file nor one of Kea"},
		{"a line without end", strings.Repeat("x", 2*maxLine), "", "bufio.Scanner: token too long"},
	} {
		got, err := parsed(c.text)
		if got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %s", c.name, err, c.err)
		}
	}
}

func TestUnescape(t *testing.T) {
	for s, want := range map[string]string{"a&#x2cb": "a,b", "&#x2c": ",", "&#x": "&#x", "&#x2": "&#x2", "&#xzz": "&#xzz", "&#x&#x2c": "&#x,", "a": "a"} {
		if got := unescape(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// Whatever is in a file, it ends well, and every name is one.
func FuzzParse(f *testing.F) {
	for _, s := range []string{dnsmasqFile, keaFile4, keaFile6, "duid x\n", "address,valid_lifetime,expire,hostname\n::ffff:1.2.3.4,1,9223372036854775807,a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := content{entries: map[netip.Addr]entry{}}
		if err := c.parse(strings.NewReader(text), ".lan.", false); errors.Is(err, errForeign) && len(c.entries) > 0 {
			t.Errorf("foreign, with %d leases", len(c.entries))
		}
		for _, e := range c.list() {
			if labelOf(e.label, ".lan.") != e.label || !e.addr.IsValid() || e.addr.Zone() != "" || e.expires < 0 {
				t.Errorf("%+v", e)
			}
		}
		newBook(c.list(), 0)
	})
}

// A file that is gone or turns wrong keeps its last good content.
func TestLastGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	l := newLeases("lan.", []string{path}, false)
	l.now = func() time.Time { return time.Unix(1999999999, 0) }
	f := l.files[0]
	step := func(what, problem string, names ...string) {
		t.Helper()
		l.read()
		var got []string
		for n := range l.book.Load().hosts {
			got = append(got, n)
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%s: %q, want %q", what, got, names)
		}
		if (f.err == nil) != (problem == "") || f.err != nil && !strings.Contains(f.err.Error(), problem) {
			t.Errorf("%s: error %v, want %q", what, f.err, problem)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	step("missing", "no such file")
	write(path, "2000000000 aa 192.168.1.2 tv *\n")
	step("there", "", "tv")
	write(path, "garbage\n")
	step("wrong", "neither a dnsmasq lease file", "tv")
	write(path, "2000000000 aa 192.168.1.3 nas *\n?\n")
	write(path+".1", "0 aa 192.168.1.9 rotated *\n") // is no part of dnsmasq's
	step("half wrong", "skipped lines, the first: line 2: 1 fields", "nas")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	step("gone", "no such file", "nas")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	step("a folder", "not a regular file", "nas")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(path, "")
	step("empty", "")
}

// While Kea cleans up, the leases are spread over files that come and go by renaming
// (Kea's Administrator Reference Manual, "Lease File Cleanup"). No name is lost then.
func TestKeaCleansUp(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kea-leases4.csv")
	header, _, _ := strings.Cut(keaFile4, "\n")
	row := func(n int, name string) string {
		return fmt.Sprintf("192.168.1.%d,02:00:00:00:00:%02x,,3600,2000000000,1,0,0,%s,0,,0\n", n, n, name)
	}
	write := func(suffix string, rows ...string) {
		t.Helper()
		if err := os.WriteFile(path+suffix, []byte(header+"\n"+strings.Join(rows, "")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	l := newLeases("lan.", []string{path}, false)
	l.now = func() time.Time { return time.Unix(1999999999, 0) }
	want := func(what string, names ...string) {
		t.Helper()
		l.read()
		for _, n := range names {
			if !l.book.Load().hosts[n].live(1999999999) {
				t.Errorf("%s: %s is lost", what, n)
			}
		}
		if n := len(l.book.Load().hosts); n != len(names) {
			t.Errorf("%s: %d names, want %q", what, n, names)
		}
	}
	write(".2", row(2, "oldest"), row(3, "renamed"))
	write("", row(3, "newer"), row(4, "late"))
	want("before", "oldest", "newer", "late")
	do(os.Rename(path, path+".1"))
	want("the file is moved away", "oldest", "newer", "late")
	write("", row(5, "fresh"))
	want("a new one is begun", "oldest", "newer", "late", "fresh")
	write(".output", row(2, "oldest"), row(3, "newer"), row(4, "late"))
	want("the cleanup writes", "oldest", "newer", "late", "fresh")
	do(os.Rename(path+".output", path+".completed"))
	want("the cleanup is complete", "oldest", "newer", "late", "fresh")
	do(os.Remove(path+".2"), os.Remove(path+".1"))
	want("old parts are removed", "oldest", "newer", "late", "fresh")
	do(os.Rename(path+".completed", path+".2"))
	want("after", "oldest", "newer", "late", "fresh")
}
