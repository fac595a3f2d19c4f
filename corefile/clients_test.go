package corefile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

// Each block is served where the queries that it answers arrive.
func TestBlocksOfClients(t *testing.T) {
	tv := func(port uint16) int { return int(gateway.ClassPort("tv", port)) }
	for _, c := range []struct{ name, in, want string }{
		{"no class", ". {\n  upstream wan\n}\n", ". {\n  upstream wan\n}\n"},
		{"a listed block of a class, and one for all",
			". { # the tv\n  listed netflix\n  clients tv\n  upstream us\n}\n. tls://. {\n  upstream wan\n}\nlan {\n  hosts\n}\n",
			fmt.Sprintf("dns://.:%d tls://.:%d { # the tv\n  listed netflix\n  clients tv\n  upstream us\n}\n. tls://. dns://.:%[1]d tls://.:%[2]d {\n  upstream wan\n}\nlan dns://lan.:%[1]d {\n  hosts\n}\n", tv(53), tv(853))},
		{"a class with one block for all names",
			". {\n  clients tv\n  upstream us\n}\n. {\n  listed gfw\n  upstream vpn\n}\n.:53 {\n  upstream wan\n}\n",
			fmt.Sprintf("dns://.:%d {\n  clients tv\n  upstream us\n}\n. {\n  listed gfw\n  upstream vpn\n}\n.:53 {\n  upstream wan\n}\n", tv(53))},
		{"keys on two lines",
			"a.example,\nb.example {\n  clients tv\n}\n. {\n  upstream wan\n}\n",
			fmt.Sprintf("\ndns://a.example.:%d dns://b.example.:%[1]d {\n  clients tv\n}\n. dns://.:%[1]d {\n  upstream wan\n}\n", tv(53))},
	} {
		text, err := Expand("Corefile", []byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if string(text.Body) != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, text.Body, c.want)
		}
		if err := text.Verify([]byte(c.in)); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		again, err := Expand("Corefile", text.Body)
		if err != nil || string(again.Body) != c.want {
			t.Errorf("%s: a second time: %v\n%s", c.name, err, again.Body)
		}
	}
}

func TestWrongBlocksOfClients(t *testing.T) {
	for in, want := range map[string]string{
		".:5353 {\n  clients tv\n}\n. {\n}\n":          "Corefile:1 - Error during parsing: clients tv: port 5353: clients are known on ports 53, 853 and 443 only",
		"\".\" {\n  clients tv\n}\n. {\n}\n":           "want the zones of the block without quotes",
		"(s) {\n  clients tv\n}\n. {\n  import s\n}\n": "",
	} {
		_, err := Expand("Corefile", []byte(in))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
