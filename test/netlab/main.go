//go:build linux

package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv names the process that re-executed this one. The pid is what keeps a
// program that is started inside, with the environment inherited, from taking
// itself for the re-executed one and mounting a second /run over the lab's.
const insideEnv = "NETLAB_INSIDE"

// requireEnv, set to "require", turns a missing privilege or tool into a failure.
const requireEnv = "NETLAB"

// TB is the part of testing.TB that the lab needs; the demo, which is no test,
// brings its own.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(func())
}

// Main runs the tests in fresh network and mount namespaces, by executing the test
// binary again. Where the namespaces cannot be made, the tests run outside and
// Need skips (or fails) those that ask for them.
func Main(m interface{ Run() int }) {
	if os.Getenv(insideEnv) == "" {
		warnOfLimits()
		code, err := Reexec()
		if err == nil {
			os.Exit(code)
		}
		os.Setenv(insideEnv, "no: "+err.Error())
	}
	os.Exit(m.Run())
}

// Reexec runs this program again with the same arguments in new network and mount
// namespaces and returns its exit code. An error means that it could not be started.
func Reexec() (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find own binary: %w", err)
	}
	// The death signal comes when the thread ends that started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"="+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// Inside reports whether the process runs in namespaces that Reexec made.
func Inside() bool { return os.Getenv(insideEnv) == strconv.Itoa(os.Getppid()) }

// init prepares the new namespaces before anything else of the test binary runs:
// private mounts, an own /run (ip netns, WireGuard sockets), an own /sys, lo up.
func init() {
	if !Inside() {
		return
	}
	// The main goroutine keeps the main thread: a namespace's goroutine that landed
	// there would leave /proc/self in a namespace for good.
	runtime.LockOSThread()
	if err := prepare(); err != nil {
		fmt.Fprintln(os.Stderr, "netlab:", err)
		os.Exit(1)
	}
}

// prepare gives fresh network and mount namespaces what a machine has: mounts of
// their own, an empty /run, a /sys of its own devices, lo, and the standard sysctls.
func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	// sysfs shows the devices of the namespace that it was mounted in.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for _, s := range standard {
		key, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("set %s: %w", s, err)
		}
	}
	return nil
}

// standard is the sysctls that tests rely on, because they differ between machines: a new
// network namespace inherits the IPv4 settings of the machine's own (devinet_init_net in
// net/ipv4/devinet.c), where Docker turns forwarding on and systemd sets rp_filter. No
// ICMP error is rate-limited: each test of a process would otherwise use up what the next
// one waits for, and older kernels share one budget among all namespaces. An empty mask
// switches both limits off, that for one host and that for all (icmpv4_mask_allow).
// What this kernel does not have is left out.
var standard = []string{
	"ipv4/ip_forward=0",
	"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0",
	"ipv4/conf/all/src_valid_mark=0", "ipv4/conf/default/src_valid_mark=0",
	"ipv4/conf/all/accept_local=0", "ipv4/conf/default/accept_local=0",
	"ipv4/conf/all/route_localnet=0", "ipv4/conf/default/route_localnet=0",
	"ipv4/conf/all/arp_ignore=0", "ipv4/conf/default/arp_ignore=0",
	"ipv4/conf/all/arp_announce=0", "ipv4/conf/default/arp_announce=0",
	"ipv4/conf/all/arp_filter=0", "ipv4/conf/default/arp_filter=0",
	"ipv4/conf/all/proxy_arp=0", "ipv4/conf/default/proxy_arp=0",
	"ipv4/conf/all/log_martians=0", "ipv4/conf/default/log_martians=0",
	"ipv6/conf/all/disable_ipv6=0", "ipv6/conf/default/disable_ipv6=0",
	"ipv4/icmp_ratemask=0", "ipv4/icmp_ratelimit=0",
	"ipv6/icmp/ratemask=0", "ipv6/icmp/ratelimit=0",
}

// Need skips the test unless it runs inside the private namespaces and every tool
// is installed; with NETLAB=require it fails instead, so that CI cannot skip.
func Need(t TB, tools ...string) {
	t.Helper()
	if !Inside() {
		missing(t, "private network namespaces (%s): run as root", os.Getenv(insideEnv))
		return
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, "%s is not installed", tool)
		}
	}
}

func missing(t TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(requireEnv) == "require" {
		t.Fatalf("needs "+format, args...)
	}
	t.Skipf("needs "+format, args...)
}
