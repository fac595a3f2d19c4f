package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nameroute/nameroute/test/netlab"
)

// oldRelease is the commit that TestUpgradeLosesNothing upgrades from: the last one with the
// old names in its nft table, gateway.yaml and metrics.
const oldRelease = "107f16b"

// Where TestMain tells the tests, which run inside a namespace without a network, of the old
// program that it has built, or why it could not.
const (
	oldBinaryEnv = "NAMEROUTE_OLD_BINARY"
	noOldEnv     = "NAMEROUTE_NO_OLD_BINARY"
)

// buildOld builds the old program into dir, unless these tests do not run it.
func buildOld(dir, run string) {
	if ok, err := regexp.MatchString(run, "TestUpgradeLosesNothing"); err == nil && !ok {
		return
	}
	binary := filepath.Join(dir, "nameroute-old")
	if err := buildCommit(oldRelease, filepath.Join(dir, "old"), binary); err != nil {
		os.Setenv(noOldEnv, err.Error())
		return
	}
	os.Setenv(oldBinaryEnv, binary)
}

// noHistory begins the reason why a copy of the project without git runs no old program.
const noHistory = "no git history"

func buildCommit(commit, dir, binary string) error {
	git := func(args ...string) *exec.Cmd {
		return exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", ".."}, args...)...)
	}
	if out, err := git("rev-parse", "--git-dir").CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %s", noHistory, strings.TrimSpace(string(out)))
	}
	if err := git("cat-file", "-e", commit+"^{commit}").Run(); err != nil {
		return fmt.Errorf("commit %s is not in this clone: git fetch --unshallow", commit)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	archive := filepath.Join(dir, "archive.tar")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "./cmd/nameroute")
	build.Dir = dir
	for _, cmd := range []*exec.Cmd{
		git("archive", "--format=tar", "-o", archive, commit),
		exec.Command("tar", "-xf", archive, "-C", dir),
		build,
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", cmd, err, out)
		}
	}
	return nil
}

// oldBinary is the old program. A copy without git has none, which is a skip; a clone must.
func oldBinary(t *testing.T) string {
	t.Helper()
	why := os.Getenv(noOldEnv)
	switch {
	case os.Getenv(oldBinaryEnv) != "":
		return os.Getenv(oldBinaryEnv)
	case why == "": // a ready binary was given, and no Go to build another one
		t.Skip("needs the program of commit " + oldRelease)
	case strings.HasPrefix(why, noHistory) || os.Getenv("NETLAB") != "require":
		t.Skip("needs the program of commit " + oldRelease + ": " + why)
	default:
		t.Fatal("needs the program of commit " + oldRelease + ": " + why)
	}
	return ""
}

// oldNames are what the old nft table called its chains and sets.
var oldNames = regexp.MustCompile(`\b(closed_door|questions|ask_us|encrypted|chain refuse|left_alone|sent_on|left_over|` +
	`keep[46]|(set|@) ?except[46]|moved[46]|nameroute_twin)\b`)

// Guarantee 7: restart, reload, upgrade, crash, flush: nothing is lost.
// The program of the commit before the nft table, gateway.yaml and the state directory got
// their present words is replaced by this one, after it was stopped or killed: what it had
// learned stays, flows and new flows go on, and nothing of its names is left.
func TestUpgradeLosesNothing(t *testing.T) {
	t.Parallel()
	old := oldBinary(t)
	for _, owner := range []string{"auto", "off"} {
		for _, end := range []string{"stopped", "killed", "rebooted"} {
			t.Run("owner "+owner+", "+end, func(t *testing.T) {
				t.Parallel()
				g := bareGate(t, netlab.Options{GoResolvers: true})
				g.upgrade(old, owner, end)
			})
		}
	}
}

func (g *gate) upgrade(old, owner, end string) {
	g.t.Helper()
	setup := netlab.Setup{Route: "evict: true\n",
		Gateway: "owner: " + owner + "\nredirect_dns: {except: [192.168.77.5], dot: reject}\nkeep: [203.0.113.0/24]\n"}
	g.Box.WriteFiles(setup)
	g.World.Add("www.listed.example. 300 IN CNAME edge.cdn.example.")
	g.p = g.Box.StartProduct(old, "run")
	g.logs(g.p)
	g.Box.AwaitNames("ready.listed.example", 10*time.Second)
	g.awaitControl("run")
	addrs := append(g.learnMany(), g.resolve("www.listed.example")...)
	client, box := g.flows(g.Client, netlab.ViaVPN, addrs[:2]...), g.flows(g.Box.Host, netlab.ViaVPN, addrs[:2]...)
	before := g.elements()
	if table := g.rules(); !oldNames.MatchString(table) {
		g.t.Fatalf("the old table has none of the old names, so nothing would be shown:\n%s", table)
	}
	g.awaitJournal("edge.cdn.example")
	g.Reset()
	running := end != "rebooted"
	var flood *flood
	if running {
		flood = g.flood(netlab.ViaVPN, addrs[2:6]...)
	} else {
		client.close()
		box.close()
		// A machine that boots has no sockets. These would repeat their FIN.
		netlab.Eventually(g.t, 10*time.Second, func() error {
			left := g.Box.Run("ss", "-Htn", "state", "fin-wait-1", "state", "closing", "state", "last-ack")
			return netlab.Check(left == "", "sockets that are not closed:\n%s", left)
		})
	}

	if end == "killed" {
		g.p.Kill()
	} else {
		g.stop(g.p)
	}
	if !running {
		g.Box.Run("nft", "delete", "table", "inet", "nameroute")
	}
	setup.Gateway = strings.Replace(setup.Gateway, "keep:", "exclude:", 1)
	g.Box.WriteFiles(setup)
	g.start()

	g.wantSubset(before, g.elements())
	if running {
		client.wantProgress()
		box.wantProgress()
		g.t.Logf("%d new flows meanwhile", flood.stop(g))
	}
	g.wantVia(g.Client, netlab.ViaVPN, addrs[len(addrs)-4:]...)
	alias := g.resolve("edge.cdn.example")
	g.wantAsked(netlab.ViaVPN, g.World.Queries("edge.cdn.example"))
	g.wantNoneClear(append(addrs, alias...)...)
	g.wantNoQueryByWAN("listed.example")

	// What is stored now is what the next start finds, and the old words are gone.
	g.wantSettledTable()
	g.nameroute("reload")
	g.wantSubset(before, g.elements())
	tables := g.Box.Run("nft", "--stateless", "--terse", "list", "ruleset")
	if left := oldNames.FindAllString(tables, -1); len(left) > 0 {
		g.t.Errorf("the nft table has old names: %q", left)
	}
	rules := g.rules()
	client.close() // they would go via the WAN, as they should
	box.close()
	g.nameroute("down")
	g.start()
	g.wantSettledTable()
	g.wantSame("as a fresh start makes the table", g.rules(), rules)
}
