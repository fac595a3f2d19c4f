// Package test holds what concerns all of nameroute: end to end tests, the
// rules of the house, benchmarks.
package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

const module = "github.com/nameroute/nameroute"

// Limits of size, in lines: beyond them a function, a file or a package holds more than one
// idea. Tests are mostly tables and get more room, and do not count for their package.
const (
	maxFunc, maxTestFunc   = 80, 160
	maxFile, maxTestFile   = 320, 600
	maxPackage, maxCommand = 3000, 1200
)

// mayImport says which packages of ours a package may import, besides itself and what
// is below it: imports go down only. `*` stands for one folder. What has no line
// may import nothing of ours.
var mayImport = map[string][]string{
	"gateway/config":                {"gateway"},
	"lists":                         {"gateway", "lists/entry", "lists/format", "lists/index"},
	"lists/entry":                   {},
	"lists/format":                  {"lists/entry", "lists/format/*"},
	"lists/format/decompress":       {},
	"lists/format/ruleset":          {"lists/entry", "lists/format/decompress"},
	"lists/index":                   {"lists/entry"},
	"gateway/conntrack":             {"gateway"},
	"gateway/pkg/markdial":          {"gateway"},
	"gateway/pkg/span":              {"gateway"},
	"gateway/nft":                   {"gateway", "gateway/nft/rule"},
	"gateway/nft/rule":              {"gateway"},
	"gateway/firewall":              {"gateway", "gateway/nft", "gateway/nft/rule"},
	"gateway/gatewaytest":           {"gateway"},
	"gateway/learned":               {"gateway", "gateway/nft"},
	"gateway/group":                 {"gateway"},
	"gateway/probe":                 {"gateway", "gateway/group"},
	"gateway/members":               {"gateway", "gateway/policy"},
	"gateway/policy":                {"gateway"},
	"gateway/programs":              {"gateway", "gateway/policy"},
	"gateway/unlisted":              {"gateway", "gateway/policy"},
	"gateway/provider":              {"gateway"},
	"gateway/resolvers":             {"gateway", "gateway/policy"},
	"gateway/wg":                    {"gateway", "gateway/provider"},
	"gateway/sidecar":               {"gateway", "gateway/conntrack", "gateway/group", "gateway/members", "gateway/policy", "gateway/probe", "gateway/programs", "gateway/provider", "gateway/resolvers", "gateway/unlisted", "gateway/wg"},
	"updater":                       {"gateway", "gateway/policy", "gateway/provider", "gateway/resolvers", "lists", "lists/format"},
	"gateway/dataplane":             {"gateway", "gateway/conntrack", "gateway/firewall", "gateway/learned", "gateway/members", "gateway/nft", "gateway/policy", "gateway/programs", "gateway/provider", "gateway/resolvers", "lists", "lists/index"},
	"plugin/pkg/*":                  {},
	"plugin/pkg/instance":           {"corefile", "gateway", "gateway/config", "gateway/dataplane", "gateway/firewall", "gateway/nft", "plugin/pkg/aliases", "plugin/pkg/bindaddr", "plugin/pkg/datagram", "plugin/pkg/explain", "plugin/pkg/replay"},
	"plugin/pkg/datagram":           {"plugin/pkg/replay"},
	"plugin/pkg/bindaddr":           {"gateway"},
	"plugin/*":                      {"corefile", "gateway", "gateway/dataplane", "gateway/nft", "lists/index", "plugin/pkg/*"},
	"plugin/upstream":               {"corefile", "gateway", "gateway/dataplane", "plugin/pkg/*", "plugin/upstream/*"},
	"plugin/upstream/client":        {"plugin/pkg/*", "plugin/upstream/wire"},
	"plugin/upstream/known":         {"plugin/upstream/wire"},
	"plugin/upstream/mux":           {"plugin/upstream/address", "plugin/upstream/bootstrap", "plugin/upstream/trust"},
	"plugin/upstream/once":          {"gateway", "plugin/upstream/*"},
	"plugin/upstream/trust":         {"plugin/upstream/address", "plugin/upstream/args"},
	"corefile":                      {"gateway"},
	"corefile/plugins":              {"corefile", "plugin/*"},
	"cmd/nameroute/internal/*":      {"cmd/nameroute/internal/*", "corefile", "gateway", "gateway/*", "lists", "lists/*", "plugin/pkg/*", "plugin/upstream/*", "updater", "test/netlab", "test/netlab/*"},
	"cmd/*":                         {"cmd/nameroute/internal/*", "corefile/*", "gateway", "gateway/*", "lists", "lists/format", "updater"},
	"gateway/firewall/firewalltest": {"gateway/firewall", "gateway/gatewaytest", "gateway/nft", "test/netlab", "test/netlab/shell"},
	"test/netlab":                   {"test/netlab/*"},
	"test/netlab/child":             {"test/netlab"},
	"test/bench-peers":              {"gateway", "lists"}, // a module of its own
	"test":                          {"corefile", "corefile/*", "gateway", "gateway/*", "plugin/pkg/*", "test/netlab", "test/netlab/*"},
}

// tools are small packages that know nothing of ours but values; everything may import
// them.
const tools = "gateway/pkg/*"

// testsMayImport is what tests may import beyond their package.
var testsMayImport = map[string][]string{
	"*":                    {"test/netlab", "gateway/config"},
	"*/*":                  {"test/netlab"},
	"*/pkg/*":              {"test/netlab"},
	"lists":                {"lists/format/ruleset/rulesettest", "lists/internal/synthetic", "test/netlab"},
	"lists/format":         {"lists/format/ruleset/rulesettest"},
	"lists/format/ruleset": {"lists/format/ruleset/rulesettest"},
	"lists/index":          {"lists/internal/synthetic"},
	"gateway/nft":          {"gateway/gatewaytest", "test/netlab"},
	"gateway/firewall":     {"gateway/firewall/firewalltest", "gateway/gatewaytest", "gateway/learned", "test/netlab", "test/netlab/child", "test/netlab/nftset", "test/netlab/shell"},                         // what packets meet
	"gateway/learned":      {"gateway/firewall", "gateway/firewall/firewalltest", "gateway/gatewaytest", "test/netlab", "test/netlab/child", "test/netlab/measure", "test/netlab/nftset", "test/netlab/shell"}, // whole tables
	"plugin/listed":        {"lists/entry", "test/netlab", "test/netlab/measure"},
	"gateway/policy":       {"test/netlab", "test/netlab/measure", "test/netlab/shell"},
	"gateway/probe":        {"test/netlab", "test/netlab/wire"},
	"gateway/programs":     {"gateway/config"},
	"gateway/unlisted":     {"gateway/config"},
	"corefile/plugins":     {"gateway", "gateway/*", "plugin/pkg/*", "test/netlab"},
	"gateway/conntrack":    {"test/netlab", "test/netlab/shell"},
	"gateway/dataplane":    {"gateway/config", "test/netlab", "test/netlab/shell"},
	"gateway/sidecar":      {"test/netlab", "test/netlab/shell"},

	"cmd/nameroute/internal/*": {"corefile/plugins"},
}

// noNetwork are the packages that hold values and must reach neither the network
// nor the kernel, and noNetworkImports what would let them.
var (
	noNetwork        = []string{"gateway", "gateway/config", "gateway/group", "gateway/pkg/problem", "lists", "lists/entry", "lists/format", "lists/format/decompress", "lists/format/ruleset", "lists/index"}
	noNetworkImports = regexp.MustCompile(`^(net|net/http.*|net/rpc|net/smtp|os/exec|crypto/tls|` +
		`golang\.org/x/(sys/.*|net/(icmp|ipv4|ipv6|proxy|http2?.*))|golang\.zx2c4\.com/.*|` +
		`github\.com/(vishvananda|mdlayher|google/nftables|coredns|miekg)(/.*)?)$`)
)

// belowPlugins are the packages that know nothing of a DNS server, and serverImports what
// makes one. Only markdial speaks DNS, as a client.
var (
	belowPlugins  = regexp.MustCompile(`^(gateway|lists|updater)(/|$)`)
	serverImports = regexp.MustCompile(`^github\.com/(coredns|miekg)(/.*)?$`)
)

const dnsClient = "gateway/pkg/markdial"

// source is one Go file of ours.
type source struct {
	path string // from the repository's root, with slashes
	dir  string // its package's folder
	test bool
	file *ast.File
	set  *token.FileSet
}

func (s source) line(p token.Pos) int { return s.set.Position(p).Line }

// files lists what belongs to the project: what git tracks or would track, or, in
// a copy without git, all there is.
func files(t *testing.T) []string {
	t.Helper()
	git := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = ".."
	var found []string
	if out, err := git.Output(); err == nil {
		for _, f := range strings.Split(strings.TrimRight(string(out), "\x00"), "\x00") {
			if _, err := os.Stat(filepath.Join("..", f)); err == nil {
				found = append(found, f)
			}
		}
		return found
	}
	err := filepath.WalkDir("..", func(p string, d os.DirEntry, err error) error {
		rel := filepath.ToSlash(strings.TrimPrefix(p, ".."+string(filepath.Separator)))
		switch {
		case err != nil:
			return err
		case d.IsDir() && (rel == ".git" || rel == "bin"):
			return filepath.SkipDir
		case d.Type().IsRegular():
			found = append(found, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, f := range files(t) {
		if !strings.HasSuffix(f, ".go") || strings.Contains(f, "testdata/") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, filepath.Join("..", f), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, source{path: f, dir: path.Dir(f), test: strings.HasSuffix(f, "_test.go"), file: file, set: set})
	}
	if len(all) < 10 {
		t.Fatalf("found only %d Go files: the rules would hold for nothing", len(all))
	}
	return all
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := forbidden(s.dir, s.test, imported); why != "" {
				t.Errorf("%s:%d: %s may not import %s: %s", s.path, s.line(spec.Pos()), s.dir, imported, why)
			}
		}
	}
}

// Nothing would show when a permission that has no use gets its first one: it is removed.
func TestPermissionsAreUsed(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		for _, spec := range s.file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			ours, found := strings.CutPrefix(imported, module+"/")
			if !found || ours == s.dir {
				continue
			}
			// Package test has only tests, whose permissions are its own.
			if !s.test || s.dir == "test" {
				used[permission(mayImport, s.dir, ours)] = true
			}
			if s.test && permission(mayImport, s.dir, ours) == "" {
				used["test of "+permission(testsMayImport, s.dir, ours)] = true
			}
		}
	}
	for prefix, rules := range map[string]map[string][]string{"": mayImport, "test of ": testsMayImport} {
		for dir, patterns := range rules {
			for _, pattern := range patterns {
				if name := prefix + dir + " -> " + pattern; !used[name] {
					t.Errorf("%s: nothing uses this permission", name)
				}
			}
		}
	}
}

// forbidden says why a package may not import another, or "".
func forbidden(dir string, test bool, imported string) string {
	if !test && slices.Contains(noNetwork, dir) && noNetworkImports.MatchString(imported) {
		return "it holds values, and reaches neither network nor kernel"
	}
	if !test && belowPlugins.MatchString(dir) && serverImports.MatchString(imported) && dir != dnsClient {
		return "it stands below the plugins, and knows nothing of a DNS server"
	}
	ours, found := strings.CutPrefix(imported, module+"/")
	if !found || ours == dir && test {
		return ""
	}
	if ok, _ := path.Match(tools, ours); ok {
		return ""
	}
	if permission(mayImport, dir, ours) != "" || test && permission(testsMayImport, dir, ours) != "" {
		return ""
	}
	return "imports go down only"
}

// permission finds what lets a folder import a package of ours, as "FOLDER -> PATTERN", or "".
func permission(rules map[string][]string, dir, ours string) string {
	key := dir
	if _, own := rules[dir]; !own {
		for pattern := range rules {
			if ok, _ := path.Match(pattern, dir); ok {
				key = pattern
			}
		}
	}
	for _, pattern := range rules[key] {
		if ok, _ := path.Match(pattern, ours); ok {
			return key + " -> " + pattern
		}
	}
	return ""
}

// The rules themselves are tested: one that forbids nothing proves nothing.
func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		dir      string
		test     bool
		imported string
		want     bool
	}{
		{"gateway", false, "net/netip", false},
		{"gateway", false, "net", true},
		{"gateway", false, "net/http", true},
		{"gateway", false, module + "/gateway/config", true},
		{"gateway/config", false, "net", true},
		{"lists", false, "github.com/vishvananda/netlink", true},
		{"lists", false, module + "/gateway", false},
		{"lists", false, module + "/gateway/nft", true},
		{"gateway", false, module + "/lists", true},
		{"gateway/dataplane", false, "github.com/coredns/coredns/plugin", true},
		{"lists/format", false, "github.com/miekg/dns", true},
		{"gateway/pkg/markdial", false, "github.com/miekg/dns", false},
		{"plugin/route", false, "github.com/miekg/dns", false},
		{"gateway/nft", false, module + "/gateway", false},
		{"gateway/nft", false, module + "/gateway/policy", true},
		{"gateway/nft", true, module + "/gateway/policy", true},
		{"gateway/nft", true, module + "/test/netlab", false},
		{"gateway/nft", false, module + "/test/netlab", true},
		{"gateway/sidecar", false, module + "/gateway/wg", false},
		{"gateway/wg", false, module + "/gateway/provider", false},
		{"gateway/provider", false, module + "/gateway/wg", true},
		{"gateway/dataplane", false, module + "/plugin/pkg/instance", true},
		{"plugin/route", false, module + "/plugin/listed", true},
		{"plugin/route", false, module + "/plugin/pkg/instance", false},
		{"plugin/pkg/instance", false, module + "/plugin/route", true},
		{"plugin/route", false, module + "/gateway/sidecar", true},
		{"corefile/plugins", false, module + "/plugin/route", false},
		{"cmd/nameroute", false, module + "/gateway/sidecar", false},
		{"test", true, module + "/cmd/nameroute", true},
		{"test/netlab", false, module + "/gateway", true},
		{"new", false, module + "/gateway", true},
		{"new", false, module + "/gateway/pkg/logonce", false},
		{"gateway/pkg/logonce", false, module + "/gateway", true},
		{"gateway/dataplane", false, "github.com/coredns/coredns/request", true},
		{"updater", false, "github.com/coredns/coredns/plugin", true},
		{"plugin/route", false, "github.com/coredns/coredns/plugin", false},
		{"new", false, "net/http", false},
	} {
		if got := forbidden(c.dir, c.test, c.imported) != ""; got != c.want {
			t.Errorf("%s imports %s (test %v): forbidden %v, want %v", c.dir, c.imported, c.test, got, c.want)
		}
	}
}

func TestPackagesAreExplained(t *testing.T) {
	name, explained := map[string]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test && s.dir != "test" {
			continue
		}
		name[s.dir] = s.file.Name.Name
		doc := s.file.Doc.Text()
		if strings.HasPrefix(doc, "Package "+s.file.Name.Name+" ") || s.file.Name.Name == "main" && doc != "" {
			explained[s.dir] = true
		}
	}
	for dir, name := range name {
		if !explained[dir] {
			t.Errorf("%s: no file has a comment that begins with `Package %s `", dir, name)
		}
	}
}

func TestSizes(t *testing.T) {
	inPackage := map[string]int{}
	for _, s := range sources(t) {
		longest, most := maxFunc, maxFile
		if s.test {
			longest, most = maxTestFunc, maxTestFile
		}
		n := s.line(s.file.FileEnd)
		wantSize(t, s.path, n, most)
		if !s.test {
			inPackage[s.dir] += n
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > longest {
				t.Errorf("%s:%d: %s has %d lines, want at most %d", s.path, s.line(f.Pos()), f.Name.Name, n, longest)
			}
		}
	}
	for dir, n := range inPackage {
		most := maxPackage
		if dir == "cmd/nameroute" {
			most = maxCommand
		}
		wantSize(t, dir, n, most)
	}
}

// wantSize wants a file or a package to be within a limit.
func wantSize(t *testing.T, name string, n, most int) {
	t.Helper()
	if n > most {
		t.Errorf("%s has %d lines, want at most %d", name, n, most)
	}
}

// opensFiles are the files that may open files without package statefile, which opens nothing
// but regular ones: a pipe in place of a file would stop the program.
var opensFiles = map[string]bool{
	"gateway/pkg/statefile/statefile.go":   true,
	"updater/store.go":                     true, // a directory, to sync it
	"cmd/nameroute/internal/setup/init.go": true, // new files only
	"cmd/nameroute/man.go":                 true, // of the build, not of the program
}

var opens = regexp.MustCompile(`\bos\.(Open|OpenFile|ReadFile|Create|OpenInRoot)\(`)

// Guarantee 8: fails safe.
func TestFilesAreOpenedByStatefile(t *testing.T) {
	for _, f := range files(t) {
		if !strings.HasSuffix(f, ".go") || strings.HasSuffix(f, "_test.go") || strings.HasPrefix(f, "test/") || opensFiles[f] {
			continue
		}
		data, err := os.ReadFile(filepath.Join("..", f))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if opens.Match(line) {
				t.Errorf("%s:%d: opens a file otherwise than by statefile: %s", f, i+1, bytes.TrimSpace(line))
			}
		}
	}
}

// Paths of one machine, and notes that were never followed. The words are
// put together so that this file does not find itself.
var (
	machinePath = regexp.MustCompile(`(^|[^A-Za-z0-9._~-])/(wor` + `k/|roo` + `t/|home/[a-z]|User` + `s/)`)
	unfinished  = regexp.MustCompile(`\b(TOD` + `O|FIXM` + `E|XX` + `X)\b`)
)

func TestNoLeftovers(t *testing.T) {
	for _, f := range files(t) {
		data, err := os.ReadFile(filepath.Join("..", f))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) || strings.Contains(f, "testdata/") || f == "go.sum" {
			continue
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			if machinePath.Match(line) {
				t.Errorf("%s:%d: a path of one machine: %s", f, i+1, line)
			}
			if unfinished.Match(line) {
				t.Errorf("%s:%d: unfinished: %s", f, i+1, line)
			}
		}
	}
}
