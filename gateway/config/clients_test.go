package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/nameroute/nameroute/gateway"
)

const classes = `lan: [lan0, guest0]
clients:
  tv: {mac: ["00:00:5E:00:53:01"], prefix: [192.168.1.40, "2001:db8:1::40"]}
  guests: {interface: [guest0]}
routes:
  us: {interface: us0, clients: [tv]}
  vpn: {interface: tun0}
`

func TestClients(t *testing.T) {
	cfg, err := Parse("gateway.yaml", []byte(classes))
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Clients) != 2 {
		t.Fatalf("%+v", cfg.Clients)
	}
	tv, guests := cfg.Clients[0], cfg.Clients[1]
	if tv.Name != "tv" || len(tv.Prefixes) != 2 || len(tv.MACs) != 1 || tv.MACs[0].String() != "00:00:5e:00:53:01" || guests.Links[0] != "guest0" {
		t.Errorf("%+v", cfg.Clients)
	}
	us, _ := cfg.Route("us")
	vpn, _ := cfg.Route("vpn")
	for _, w := range []struct {
		r     gateway.Route
		class string
		want  bool
	}{{us, "tv", true}, {us, "guests", false}, {us, "", false}, {vpn, "tv", true}, {vpn, "", true}} {
		if got := w.r.ServesClass(w.class); got != w.want {
			t.Errorf("%s for class %q: %v, want %v", w.r.Name, w.class, got, w.want)
		}
	}
	again, err := Parse("gateway.yaml", []byte(YAML(cfg)))
	if err != nil {
		t.Fatalf("%v\n%s", err, YAML(cfg))
	}
	if !reflect.DeepEqual(again.Clients, cfg.Clients) || !reflect.DeepEqual(again.Routes, cfg.Routes) {
		t.Errorf("printed and read again: %+v", again)
	}
}

func TestWrongClients(t *testing.T) {
	for text, want := range map[string]string{
		"clients: {tv: {}}":                                                                   "gateway.yaml:1:11: clients.tv: has no clients: want one or more of prefix, mac and interface",
		"clients: {tv: {mac: [00:11]}}":                                                       "not a MAC address",
		"clients: {tv: {mac: [\"01:00:5e:00:00:01\"]}}":                                       "is a multicast address",
		"clients: {tv: {prefix: [0.0.0.0/0]}}":                                                "is every client of its family",
		"clients: {tv: {interface: [tv0]}}":                                                   "is not in lan: want it in lan: too",
		"clients: {tv: {hostname: [tv]}}":                                                     "unknown key",
		"routes: {us: {interface: us0, clients: [tv]}}":                                       "routes.us.clients: tv: unknown class of clients: add it to clients:",
		"clients: {tv: {prefix: [192.168.1.40]}, tw: {prefix: [192.168.1.40]}}":               "is also in clients.tv on line 1",
		"clients: {tv: {prefix: [192.168.1.40]}}\nroutes: {us: {interface: u, clients: [t]}}": "did you mean tv?",
	} {
		_, err := Parse("gateway.yaml", []byte(text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got: %v\nwant: %s", text, err, want)
		}
	}
}
