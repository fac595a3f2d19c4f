package address

import (
	"encoding/base64"
	"strings"
	"testing"
)

// FuzzStamp: whatever a stamp holds, what is taken of it is a resolver that can be asked.
func FuzzStamp(f *testing.F) {
	for _, s := range []string{
		stampOf(0, lp("192.0.2.53:5353")), stampOf(2, lp("[2001:db8::53]:8443")+"\xa0"+hash+lp(hash, "dns.example.org", "/q", "192.0.2.1")),
		stampOf(3, lp("", "", "dns.example.org:8853")), stampOf(4, lp(":784", "", "dns.example.org")), stampOf(1, ""), stampOf(5, ""), "sdns://AgAA",
	} {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(s, "sdns://"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := "sdns://" + base64.RawURLEncoding.EncodeToString(b)
		a, err := Parse(s)
		if err != nil {
			if a != (Address{}) || len(err.Error()) > 2*len(s)+1000 {
				t.Fatalf("%x: %+v, %v", b, a, err)
			}
			return
		}
		named := a.Host != ""
		if a.Addr.Port() == 0 || named == a.Addr.Addr().IsValid() || len(a.Hashes)%hashLen != 0 || a.Transport.HTTP() != strings.HasPrefix(a.Path, "/") ||
			a.Transport.Encrypted() != (a.Name != "") || !a.Transport.Encrypted() && a.Hashes != "" {
			t.Fatalf("%x became %+v", b, a)
		}
		if again, err := Parse(a.String()); err != nil || !again.Same(a) {
			t.Fatalf("%x became %s, which becomes %+v, %v", b, a, again, err)
		}
	})
}
