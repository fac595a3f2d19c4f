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
		"clients: {tv: {}}":                                                                   "gateway.yaml:1:11: clients.tv: has no clients: want one or more of prefix, mac, interface, user, group and cgroup",
		"clients: {tv: {mac: [00:11]}}":                                                       "not a MAC address",
		"clients: {tv: {mac: [\"01:00:5e:00:00:01\"]}}":                                       "is a multicast address",
		"clients: {tv: {prefix: [0.0.0.0/0]}}":                                                "is every client of its family",
		"clients: {tv: {interface: [tv0]}}":                                                   "is not in lan: want it in lan: too",
		"clients: {tv: {hostname: [tv]}}":                                                     "unknown key",
		"routes: {us: {interface: us0, clients: [tv]}}":                                       "routes.us.clients: tv: unknown class of clients: add it to clients:",
		"clients: {tv: {prefix: [192.168.1.40]}, tw: {prefix: [192.168.1.40]}}":               "is also in clients.tv on line 1",
		"clients: {tv: {prefix: [192.168.1.40]}}\nroutes: {us: {interface: u, clients: [t]}}": "did you mean tv?",

		"clients: {p: {user: [root]}}":                                                                     "gateway.yaml:1:22: clients.p.user: root: is the kernel's own, too, and that of most services: want a cgroup, such as system.slice/NAME.service",
		"clients: {p: {group: [0]}}":                                                                       "clients.p.group: 0: is the kernel's own",
		"clients: {p: {user: [a, a]}}":                                                                     "duplicate",
		"clients: {p: {user: [a b]}}":                                                                      "not a name of a user or group",
		"clients: {p: {user: [4294967295]}}":                                                               "not a number of a user or group",
		"clients: {p: {cgroup: [/sys/fs/cgroup/a.slice]}}":                                                 "want the path below it",
		"clients: {p: {cgroup: [restic.service]}}":                                                         "has no slice: want the whole path, such as system.slice/restic.service",
		"clients: {p: {cgroup: [../a]}}":                                                                   "not the path of a cgroup",
		"clients: {p: {cgroup: [\"user.slice/*\"]}}":                                                       "patterns are not supported",
		"clients: {p: {user: [a]}, q: {user: [a]}}":                                                        "clients.q.user: a: is also in clients.p on line 1",
		"clients: {p: {user: [a], route: vpm}}\nroutes: {vpn: {interface: u}}":                             "clients.p.route: vpm: unknown route: did you mean vpn?",
		"clients: {p: {prefix: [192.168.1.40], route: wam}}":                                               "clients.p.route: wam: unknown route: did you mean wan?",
		"clients: {p: {prefix: [192.168.1.40], route: wan}}\nroutes: {us: {interface: u, clients: [p]}}":   "gateway.yaml:2:39: routes.us.clients: p: all of it goes by wan (clients.p.route): want one of the two",
		"clients: {p: {user: [a], route: us}, q: {user: [b]}}\nroutes: {us: {interface: u, clients: [q]}}": "is for other clients only: want p in routes.us.clients, too",
	} {
		_, err := Parse("gateway.yaml", []byte(text+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n got: %v\nwant: %s", text, err, want)
		}
	}
}

// A class whose programs could not be read has one problem, not a second one that follows from it.
func TestWrongProgramsAreOneProblem(t *testing.T) {
	for _, key := range []string{"user: [root]", "group: [root]", "cgroup: [restic.service]"} {
		_, err := Parse("gateway.yaml", []byte("clients: {p: {"+key+", route: wan}}\n"))
		if err == nil || strings.Contains(err.Error(), "clients.p.route") {
			t.Errorf("%s: %v, want a problem, and none of the route", key, err)
		}
	}
}

func TestPrograms(t *testing.T) {
	cfg, err := Parse("gateway.yaml", []byte(`clients:
  torrent: {user: [debian-transmission, 1005], route: vpn}
  backup: {group: [backup], cgroup: [/system.slice/restic.service/], route: wan}
routes:
  vpn: {interface: tun0}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []gateway.Clients{
		{Name: "torrent", Users: []string{"debian-transmission", "1005"}, Route: "vpn"},
		{Name: "backup", Groups: []string{"backup"}, Cgroups: []string{"system.slice/restic.service"}, Route: "wan"},
	}
	if !reflect.DeepEqual(cfg.Clients, want) {
		t.Errorf("%+v", cfg.Clients)
	}
	again, err := Parse("gateway.yaml", []byte(YAML(cfg)))
	if err != nil || !reflect.DeepEqual(again.Clients, want) {
		t.Errorf("printed and read again: %v\n%s", err, YAML(cfg))
	}
}
