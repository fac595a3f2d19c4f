package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestYAMLShowsTheWordDHCP(t *testing.T) {
	c, err := Parse("/etc/nameroute/gateway.yaml", []byte("wan_resolvers: dhcp\n"))
	if err != nil || !c.WANHanded || len(c.WANResolvers) > 0 || !strings.Contains(YAML(c), "\nwan_resolvers: dhcp\n") {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestYAMLShowsDefaults(t *testing.T) {
	c, err := Parse("/etc/nameroute/gateway.yaml", []byte(`
lan: br-lan
routes: {vpn: {wireguard: /etc/wireguard/wg0.conf, mark: 0x51000000}, out: {next_hop: 192.0.2.254, mark: 0x1000000}}
lists: {mine: {file: "my list: 1.txt"}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `lan: [br-lan]
wan: auto
wan_resolvers: []
mask: 0x7f000000
exclude: []
priority: 7200
set_size: 65536
lifetime:
    floor: 1h
    grace: 10m
    ceiling: 24h
check_interval: 1m
owner: auto
redirect_dns: off
default: wan
routes:
    vpn:
        wireguard: /etc/wireguard/wg0.conf
        link: wg0
        on_down: block
        mark: 0x51000000
        table: 7281
        priority: 7281
        private: refuse
        snat: auto
        evict: false
        inbound: refuse
        handshake_timeout: 30s
        handshake_limit: 3m
        handshake_probe: 5m
        hooks: refuse
    out:
        next_hop: [192.0.2.254]
        on_down: block
        mark: 0x1000000
        table: 7201
        priority: 7201
        private: refuse
        snat: auto
        evict: false
lists:
    mine:
        file: '/etc/nameroute/my list: 1.txt'
        max_shrink: 40%
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(YAML(c), "\n")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestYAMLRoundTrip(t *testing.T) {
	c, err := Parse("/etc/nameroute/gateway.yaml", []byte(everyKey))
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("/etc/nameroute/gateway.yaml", []byte(YAML(c)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again, equal); diff != "" {
		t.Errorf("(-first +second)\n%s", diff)
	}
}
