package test

import (
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// checkRefused saves a file with a mistake and mends it: what runs is not what the files
// say meanwhile, and `status` names file and line.
func (g *gate) checkRefused() {
	g.t.Helper()
	g.Box.Sh("cp " + g.Box.Dir + "/gateway.yaml " + g.Box.Dir + "/good; echo 'lans: [br-lan]' >> " + g.Box.Dir + "/gateway.yaml")
	g.p.WaitOutput("reload failed, keeping the running configuration", 15*time.Second)
	g.awaitStatus(func(s page, code int) error {
		refused := s.Processes[0].Refused
		told := refused != nil && strings.Contains(refused.Error, "lans: unknown key: did you mean lan?") && time.Since(refused.Since) < 5*time.Minute
		return netlab.Check(code == 10 && s.State == "bad" && told, "a wrong file: exit code %d, %s, %+v", code, s.State, refused)
	})
	g.awaitStatusSays("the files have been changed and are not in use, since ")
	if p := g.Box.Launch(binary, "check"); exitOf(g.t, p) != 3 || !strings.Contains(p.Output(), "warning  the running nameroute has not taken the files as they are, since ") {
		g.t.Errorf("check of a wrong file:\n%s", p.Output())
	}
	g.Box.Sh("mv " + g.Box.Dir + "/good " + g.Box.Dir + "/gateway.yaml")
	g.p.WaitOutput("reload complete, the files are in use again", 15*time.Second)
	g.awaitStatus(func(s page, code int) error {
		return netlab.Check(code == 0 && s.Processes[0].Refused == nil, "a mended file: exit code %d, %+v", code, s.Processes)
	})
}

// Something empties /run while nameroute runs: commands find it again within seconds, a
// second start is refused, and `down` ends it and says that it is done.
func TestRunDirectoryIsEmptied(t *testing.T) {
	t.Parallel()
	g := bareGate(t, netlab.Options{GoResolvers: true})
	g.Box.WriteFiles(netlab.Setup{})
	g.start()
	g.Box.Sh("rm -rf /run/nameroute")
	g.p.WaitOutput("the run directory was emptied, restored the locks and the control socket", 15*time.Second)
	g.awaitGood()
	if code := exitOf(t, g.Box.Launch(binary, "run")); code != 8 {
		t.Errorf("a second run: exit code %d, want 8", code)
	}
	g.checkRefused()
	p := g.Box.Launch(binary, "down")
	const done = "all that it set up is removed, and what it changed is restored: listed names take the WAN\n"
	if code := exitOf(t, p); code != 0 || p.Output() != "nameroute has ended; "+done {
		t.Errorf("down: exit code %d:\n%s", code, p.Output())
	}
	if err := g.p.Wait(5 * time.Second); err != nil {
		t.Errorf("the process ended with %v", err)
	}
	if p := g.Box.Launch(binary, "down"); exitOf(t, p) != 0 || p.Output() != "nothing to remove: nameroute does not run and has left nothing\n" {
		t.Errorf("a second down:\n%s", p.Output())
	}
	// A start that fails with objects as its log ends with one.
	g.Box.Write("gateway.yaml", "lans: []\n")
	g.Box.Sh("rm -rf " + g.Box.State() + "/good")
	p = g.Box.Launch(binary, "run", "--log-format", "json")
	if code := exitOf(t, p); code != 3 || !strings.HasPrefix(strings.TrimSpace(p.Output()), "{") || !strings.Contains(p.Output(), `"exit_code":3`) {
		t.Errorf("a failed start: exit code %d:\n%s", code, p.Output())
	}
}
