package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/plugin"
	_ "github.com/coredns/coredns/plugin/root"

	"github.com/nameroute/nameroute/corefile"
	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/config"
	"github.com/nameroute/nameroute/gateway/dataplane"
	"github.com/nameroute/nameroute/plugin/pkg/aliases"
	"github.com/nameroute/nameroute/test/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }

// planes are the dataplanes that blocks with the directive `uses ROUTE [FILE]` have seen in
// their startup functions.
var planes []*dataplane.Controller

func init() {
	plugin.Register("uses", func(c *caddy.Controller) error {
		c.Next()
		at := Here(c)
		args := c.RemainingArgs()
		file := ""
		if len(args) > 1 {
			var err error
			if file, err = ConfigFile(c, args[1:]); err != nil {
				return err
			}
		}
		b := Attach(c, file)
		b.Query(at, args[0], func() []UpstreamStatus { return []UpstreamStatus{{Route: args[0]}} })
		if b.Dataplane() != nil {
			return c.Err("a dataplane before the instance has started")
		}
		c.OnStartup(func() error {
			planes = append(planes, b.Dataplane())
			return nil
		})
		return nil
	})
}

// The directive `breaks setup|startup` fails there.
func init() {
	plugin.Register("breaks", func(c *caddy.Controller) error {
		c.Next()
		if c.RemainingArgs()[0] == "setup" {
			return c.Err("broken")
		}
		c.OnStartup(func() error { return errors.New("broken") })
		return nil
	})
}

// box is a directory with a gateway.yaml of one route.
func box(t *testing.T) (dir string) {
	t.Helper()
	netlab.Need(t)
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gateway.yaml"), []byte("routes:\n  vpn: {interface: tun0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := dnsserver.SetDirectives([]string{"root", "bind", "uses", "breaks", "probe", "whoami", "view"}); err != nil {
		t.Fatal(err)
	}
	planes = nil
	return dir
}

func input(directive string) caddy.Input {
	text := ".:0 {\n bind 127.0.0.1\n " + directive + "\n whoami\n}\n"
	return caddy.CaddyfileInput{Contents: []byte(text), Filepath: "Corefile", ServerTypeName: "dns"}
}

func start(t *testing.T, directive string) *caddy.Instance {
	t.Helper()
	inst, err := caddy.Start(input(directive))
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func stop(t *testing.T, inst *caddy.Instance) {
	t.Helper()
	for _, err := range append(inst.ShutdownCallbacks(), inst.Stop()) {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestOwnDataplane: a dataplane that no program provides is opened once for all instances,
// reads gateway.yaml with each, and ends with the last.
func TestOwnDataplane(t *testing.T) {
	dir := box(t)
	file := filepath.Join(dir, "gateway.yaml")
	SetDefaults(file, filepath.Join(dir, "state"))
	inst := start(t, "uses vpn")
	if err := os.WriteFile(file, []byte("routes:\n  office: {interface: tun0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := inst.Restart(input("uses vpn")); err == nil || !strings.Contains(err.Error(), `plugin/upstream: Corefile:3 - Error during parsing: unknown route "vpn"`) {
		t.Errorf("a route that is gone: %v", err)
	}
	if s, ok, err := ReadStatus(""); !ok || err != nil || s.Routes[0].Route.Name != "vpn" || len(s.Upstreams) != 1 {
		t.Errorf("after the failure: %v, %+v, %v", ok, s, err)
	}
	next, err := inst.Restart(input("uses office"))
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := ReadStatus(file)
	if err != nil || s.Routes[0].Route.Name != "office" || s.Upstreams[0].Route != "office" {
		t.Errorf("after the restart: %+v, %v", s, err)
	}
	if len(planes) != 2 || planes[0] != planes[1] {
		t.Errorf("the instances have %d dataplanes: %v", len(planes), planes)
	}
	stop(t, next)
	if _, ok, _ := ReadStatus(""); ok {
		t.Error("the dataplane has not ended with the last instance")
	}
}

// TestStartGivenUp: an instance that ends before it serves takes its configuration with it.
func TestStartGivenUp(t *testing.T) {
	dir := box(t)
	file := filepath.Join(dir, "gateway.yaml")
	SetDefaults(file, filepath.Join(dir, "state"))
	inst := start(t, "uses vpn")
	old := planes[0].Config()
	if err := os.WriteFile(file, []byte("routes:\n  vpn: {interface: tun0}\n  office: {interface: tun1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := &instance{file: resolve(file)}
	if _, err := acquire(next); err != nil {
		t.Fatal(err)
	}
	if planes[0].Config() == old {
		t.Error("the new instance has the old configuration")
	}
	if err := release(next); err != nil {
		t.Error(err)
	}
	if planes[0].Config() != old {
		t.Error("the configuration of an instance that was given up is in force")
	}
	stop(t, inst)
}

// TestProvidedDataplane: blocks use the dataplane that the program provides, with the
// configuration that it has, and do not end it.
func TestProvidedDataplane(t *testing.T) {
	dir := box(t)
	cfg, err := config.Parse(filepath.Join(dir, "gateway.yaml"), []byte("routes:\n  newer: {interface: tun0}\n"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := dataplane.New(dataplane.Options{Config: cfg, State: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	withdraw := Provide(d, aliases.New())
	for range 2 {
		stop(t, start(t, "uses newer"))
	}
	stop(t, start(t, "root "+dir+"\n uses newer gateway.yaml"))
	for _, p := range planes {
		if p != d {
			t.Error("a block has another dataplane")
		}
	}
	select {
	case err := <-ended:
		t.Errorf("the dataplane ended with an instance: %v", err)
	default:
	}
	withdraw()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, ok, _ := ReadStatus(cfg.File); ok {
		t.Error("there is a dataplane after it was withdrawn")
	}
}

// TestOffer: the configuration that a program offers is in force from the start of an
// instance on, and not where that fails, however late.
func TestOffer(t *testing.T) {
	dir := box(t)
	parse := func(route string) *gateway.Config {
		cfg, err := config.Parse(filepath.Join(dir, "gateway.yaml"), []byte("routes:\n  "+route+": {interface: tun0}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	old, next := parse("vpn"), parse("office")
	d, err := dataplane.New(dataplane.Options{Config: old, State: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	t.Cleanup(Provide(d, aliases.New()))
	inst := start(t, "uses vpn")
	for _, broken := range []string{"uses office\n breaks setup", "uses office\n breaks startup", "uses vpn"} {
		withdraw := Offer(next)
		if _, err := inst.Restart(input(broken)); err == nil {
			t.Fatalf("%q starts", broken)
		}
		withdraw()
		if s, _, err := ReadStatus(""); d.Config() != old || err != nil || s.Upstreams[0].Route != "vpn" {
			t.Errorf("after %q: the configuration has %s, %v, %v", broken, d.Config().Routes[0].Name, s.Upstreams, err)
		}
	}
	withdraw := Offer(next)
	if inst, err = inst.Restart(input("uses office")); err != nil {
		t.Fatal(err)
	}
	withdraw()
	if d.Config() != next {
		t.Error("the offered configuration is not in force")
	}
	stop(t, inst)
	if b := registry.bindings[old.File]; len(b.living) != 0 {
		t.Errorf("%d instances are left", len(b.living))
	}
}

func TestConfigFile(t *testing.T) {
	for _, c := range []struct{ root, file, want string }{
		{"", "gateway.yaml", "gateway.yaml"},
		{"/etc/dns", "gateway.yaml", "/etc/dns/gateway.yaml"},
		{"/etc/dns", "/etc/other/gateway.yaml", "/etc/other/gateway.yaml"},
	} {
		ctl := caddy.NewTestController("dns", "")
		dnsserver.GetConfig(ctl).Root = c.root
		if got, err := ConfigFile(ctl, []string{c.file}); got != c.want || err != nil {
			t.Errorf("root %q, file %q: %q, %v", c.root, c.file, got, err)
		}
	}
	for _, args := range [][]string{nil, {"a", "b"}} {
		if _, err := ConfigFile(caddy.NewTestController("dns", ""), args); err == nil {
			t.Errorf("%q pass", args)
		}
	}
}

func TestCheckNames(t *testing.T) {
	dir := t.TempDir()
	for file, text := range map[string]string{"gateway.yaml": "", "other.yaml": "routes:\n  office: {interface: tun0}\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Parse(filepath.Join(dir, "gateway.yaml"), []byte("clients:\n  tv: {prefix: [192.0.2.9]}\nroutes:\n  vpn: {interface: tun0}\n  us: {interface: tun1, clients: [tv]}\nlists:\n  mine: {file: mine.txt}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ block, want string }{
		{"listed mine\n route vpn\n upstream vpn", ""},
		{"upstream wan", ""},
		{"clients tv\n route us", ""},
		{"clients tv\n route vpn", ""},
		{"clients tw\n route vpn", `plugin/clients: Corefile:2 - Error during parsing: unknown class of clients "tw": did you mean "tv"?`},
		{"route us", "plugin/route: Corefile:2 - Error during parsing: route us is for clients tv only"},
		{"listed mien\n route vpm", `plugin/listed: Corefile:2 - Error during parsing: unknown list "mien": did you mean "mine"?`},
		{"listed mine\n route vpm", `plugin/route: Corefile:3 - Error during parsing: unknown route "vpm": did you mean "vpn"?`},
		{"listed mine\n route vpn {\n  set inet a b c\n }\n upstream elsewhere", `plugin/upstream: Corefile:6 - Error during parsing: unknown route "elsewhere": `},
		{"root " + dir + "\n route office {\n  config other.yaml\n }", ""},
		{"root " + dir + "\n route vpn {\n  config other.yaml\n }", `plugin/route: Corefile:3 - Error during parsing: unknown route "vpn": `},
		{"root " + dir + "\n route vpn {\n  config gateway.yaml\n }", ""}, // the one that is given, not its file
		{"route vpn {\n  config /nonexistent/gateway.yaml\n }", "/nonexistent/gateway.yaml"},
	} {
		f, err := corefile.Parse("Corefile", []byte(". {\n "+c.block+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(CheckNames(f.Blocks[0], cfg)...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.block, err, c.want)
		}
	}
}
