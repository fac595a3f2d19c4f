package test

import (
	"testing"

	"github.com/nameroute/nameroute/test/netlab"
)

func TestSlice(t *testing.T) {
	lab := netlab.New(t, netlab.Options{})
	lab.Box.WriteFiles(netlab.Setup{})
	p := lab.Box.StartProduct(binary, "run")
	defer func() { t.Log(p.Output()) }()
	for name, want := range map[string]netlab.Way{"listed.example": netlab.ByVPN, "www.listed.example": netlab.ByVPN, "other.example": netlab.ByWAN} {
		addrs, err := lab.Client.Resolve(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			way, err := lab.Client.Connect(a)
			if err != nil || way != want {
				t.Errorf("%s %s: went %s, %v; want %s", name, a, way, err, want)
			}
		}
	}
	t.Log(lab.Box.Run("nft", "list", "table", "inet", "nameroute"))
	t.Log(lab.Box.Run("ip", "rule"))
	t.Log(lab.Box.Run("ip", "route", "show", "table", "all", "proto", "110"))
}
