package bindaddr

import (
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		args, except   []string
		hosts, without []string
	}{
		{[]string{"192.0.2.1", "fe80::1%br-lan"}, nil, []string{"192.0.2.1", "fe80::1%br-lan"}, nil},
		{[]string{"192.0.2.1", "192.0.2.1"}, nil, []string{"192.0.2.1"}, nil},
		{[]string{"192.0.2.1", "none9"}, nil, []string{"192.0.2.1"}, []string{"none9"}},
		{[]string{"none9"}, nil, []string{Nowhere}, []string{"none9"}},
		{[]string{"192.0.2.1", "192.0.2.2"}, []string{"192.0.2.1", "none9"}, []string{"192.0.2.2"}, nil},
		{[]string{"192.0.2.1"}, []string{"192.0.2.1"}, []string{Nowhere}, nil},
	} {
		hosts, without := Of(c.args, c.except)
		if !slices.Equal(hosts, c.hosts) || !slices.Equal(without, c.without) {
			t.Errorf("%q but %q: %q, %q without; want %q, %q", c.args, c.except, hosts, without, c.hosts, c.without)
		}
	}
	if hosts, without := Of([]string{"lo"}, nil); !slices.Contains(hosts, "127.0.0.1") || len(without) > 0 {
		t.Errorf("lo: %q, %q", hosts, without)
	}
	if hosts, _ := Of([]string{"lo"}, []string{"127.0.0.1"}); slices.Contains(hosts, "127.0.0.1") {
		t.Errorf("lo without 127.0.0.1: %q", hosts)
	}
}

func TestCheck(t *testing.T) {
	for arg, ok := range map[string]bool{
		"192.0.2.1": true, "::1": true, "fe80::1%eth0": true, "br-lan": true, "eth0.100": true, "wan": true,
		"192.0.2.300": false, "192.0.2.1:53": false, "192.0.2.0/24": false, "a-name-that-is-too-long": false, "": false, "127": false,
	} {
		if err := Check(arg); (err == nil) != ok {
			t.Errorf("%q: %v", arg, err)
		}
	}
}
