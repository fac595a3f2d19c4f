package demo

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/cmd/nameroute/internal/exit"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
	"github.com/nameroute/nameroute/test/netlab"
	"github.com/nameroute/nameroute/test/netlab/wire"
)

// demo is one run of the demo.
type demo struct {
	*narrator
	lab     *netlab.Lab
	names   names
	process *netlab.Process
	cleanup []func()
}

// labT is what the lab takes for a test: a failure of the lab ends the demo.
type labT struct{ d *demo }

// abort is the panic by which the lab ends the demo.
type abort struct{ err error }

func (t labT) Helper()                   {}
func (t labT) Logf(f string, a ...any)   { t.d.say(f, a...) }
func (t labT) Fatalf(f string, a ...any) { panic(abort{fmt.Errorf(f, a...)}) }
func (t labT) Skipf(f string, a ...any)  { panic(abort{fmt.Errorf(f, a...)}) }
func (t labT) Cleanup(f func())          { t.d.cleanup = append(t.d.cleanup, f) }

func newDemo(out *os.File, list string) (*demo, error) {
	d := &demo{narrator: newNarrator(out)}
	dir, err := os.MkdirTemp("", "nameroute-demo")
	if err != nil {
		return nil, err
	}
	d.cleanup = append(d.cleanup, func() { os.RemoveAll(dir) })
	if d.names, err = demoNames(list, dir); err != nil {
		d.end()
		return nil, err
	}
	return d, nil
}

// end removes the lab, in the reverse order of its making.
func (d *demo) end() {
	for i := len(d.cleanup) - 1; i >= 0; i-- {
		d.cleanup[i]()
	}
}

// show runs all acts.
func (d *demo) show() (err error) {
	defer func() {
		if c, ok := recover().(abort); ok {
			err = c.err
		}
		d.end()
	}()
	d.build()
	d.run()
	d.listedName()
	d.otherName()
	d.freshNames()
	d.bypasses()
	d.silentTunnel()
	d.killed()
	d.back()
	d.down()
	if !d.summary() {
		return &exit.Error{Code: exit.Failure}
	}
	return nil
}

// ask resolves a name as a client does and returns its addresses, of both families.
func (d *demo) ask(name string) []netip.Addr {
	addrs, err := d.lab.Client.Resolve(name)
	if err != nil {
		d.say("%s: %v", name, err)
	}
	return addrs
}

// egresses connects to addresses and counts the connections by egress.
func (d *demo) egresses(from *netlab.Host, addrs []netip.Addr, limit time.Duration) map[netlab.Egress]int {
	egresses := map[netlab.Egress]int{}
	for _, a := range addrs {
		egress, err := from.ConnectWithin(a, limit)
		if err != nil {
			egress = "nowhere"
		}
		egresses[egress]++
	}
	return egresses
}

// only reports whether all connections used one egress.
func only(egresses map[netlab.Egress]int, egress netlab.Egress) bool {
	return len(egresses) == 1 && egresses[egress] > 0
}

func described(egresses map[netlab.Egress]int) string {
	name := func(w netlab.Egress) string {
		switch w {
		case netlab.ViaVPN:
			return "via the tunnel"
		case netlab.ViaWAN:
			return "via the WAN"
		case "nowhere":
			return "nowhere"
		}
		return "via " + string(w)
	}
	var words []string
	for _, w := range slices.Sorted(maps.Keys(egresses)) {
		words = append(words, fmt.Sprintf("%d %s", egresses[w], name(w)))
	}
	if len(words) == 0 {
		return "no connection"
	}
	return strings.Join(words, ", ")
}

// clear counts the packets that left in the clear to some addresses, or at all.
func (d *demo) clear(addrs ...netip.Addr) int {
	d.lab.Settle()
	if len(addrs) == 0 {
		return len(d.lab.ISP.Clear())
	}
	return len(d.lab.ISP.Clear(wire.To(addrs...)))
}

// start runs nameroute on the box and waits until it answers and its tunnel is up.
func (d *demo) start() {
	self, err := os.Executable()
	if err != nil {
		panic(abort{fmt.Errorf("find own binary: %w", err)})
	}
	d.process = d.lab.Box.StartProduct(self, "run", "--probe-interval", "200ms")
	d.lab.Box.AwaitNames(d.names.listed[0], 10*time.Second)
}

// kill ends nameroute as a crash would.
func (d *demo) kill() { d.process.Signal(unix.SIGKILL); d.process.Wait(5 * time.Second) }

// file reads one of the box's files.
func (d *demo) file(name string) string {
	b, err := statefile.ReadFile(filepath.Join(d.lab.Box.Dir, name))
	if err != nil {
		panic(abort{err})
	}
	return string(b)
}

// query sends the box one query over UDP.
func (d *demo) query(name string, qtype uint16) (*dns.Msg, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	r, err := d.lab.Client.Query(m, "udp")
	if err == nil && r.Rcode != dns.RcodeSuccess {
		err = errors.New(dns.RcodeToString[r.Rcode])
	}
	return r, err
}
