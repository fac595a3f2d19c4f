// Package programs finds the users, groups and cgroups by which gateway.yaml knows programs
// of the box, and tells when they may have changed: a user may be added, and a cgroup is
// another one each time its service starts.
package programs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nameroute/nameroute/gateway"
	"github.com/nameroute/nameroute/gateway/pkg/filewatch"
	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// Find returns what is there of each class of programs, by the class's name.
func Find(classes []gateway.Clients) map[string]gateway.Programs {
	found := map[string]gateway.Programs{}
	for _, class := range classes {
		if class.HasPrograms() {
			found[class.Name] = find(class)
		}
	}
	return found
}

func find(class gateway.Clients) (p gateway.Programs) {
	missing := func(format string, args ...any) { p.Missing = append(p.Missing, fmt.Sprintf(format, args...)) }
	for _, name := range class.Users {
		n, err := number(name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		})
		if err != nil {
			missing("user %s: %s", name, notThere(err, "passwd"))
			continue
		}
		p.UIDs = append(p.UIDs, n)
	}
	for _, name := range class.Groups {
		n, err := number(name, func() (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
		if err != nil {
			missing("group %s: %s", name, notThere(err, "group"))
			continue
		}
		p.GIDs = append(p.GIDs, n)
	}
	for _, name := range class.Cgroups {
		g, err := cgroup(name)
		if err != nil {
			missing("cgroup %s: %v", name, err)
			continue
		}
		p.Cgroups = append(p.Cgroups, g)
	}
	return p
}

// number returns the number of a user or group that is one, or has one.
func number(name string, lookup func() (string, error)) (uint32, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(n), nil
	}
	text, err := lookup()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err == nil && n == 0 {
		err = errors.New("has the number 0, which is the kernel's own, too: want a cgroup")
	}
	return uint32(n), err
}

func notThere(err error, file string) string {
	if errors.As(err, new(user.UnknownUserError)) || errors.As(err, new(user.UnknownGroupError)) {
		return "unknown: not in /etc/" + file
	}
	return err.Error()
}

// NotNow is how Missing ends for a cgroup whose service does not run.
const NotNow = "does not exist now"

// errNoCgroup2 is why no cgroup is found on a box with the older hierarchies only.
var errNoCgroup2 = errors.New("cgroup2 is not mounted (cgroup v1 cannot be used: boot with systemd.unified_cgroup_hierarchy=1, or use user:)")

// cgroup returns a cgroup that exists.
func cgroup(name string) (gateway.Cgroup, error) {
	root, err := cgroupRoot()
	if err != nil {
		return gateway.Cgroup{}, err
	}
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(root, name), 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gateway.Cgroup{}, errors.New(NotNow)
	case err != nil:
		return gateway.Cgroup{}, fmt.Errorf("name_to_handle_at: %w", err)
	case handle.Size() != 8:
		return gateway.Cgroup{}, fmt.Errorf("its handle has %d bytes: want 8", handle.Size())
	}
	return gateway.Cgroup{Path: name, ID: binary.NativeEndian.Uint64(handle.Bytes()), Level: strings.Count(name, "/") + 1}, nil
}

// cgroupRoot returns where cgroup2 is mounted: a mount may hide another one.
func cgroupRoot() (string, error) {
	data, err := statefile.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		before, after, ok := strings.Cut(line, " - cgroup2 ")
		fields := strings.Fields(before) // proc(5): the fifth is the mount point
		if !ok || len(fields) < 5 || after == "" {
			continue
		}
		var st unix.Statfs_t
		if err := unix.Statfs(fields[4], &st); err == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return fields[4], nil
		}
	}
	return "", errNoCgroup2
}

// Watch calls changed whenever Find returns something else, until ctx ends. recheck tells of
// other classes.
func Watch(ctx context.Context, classes func() []gateway.Clients, recheck <-chan struct{}, log *slog.Logger, changed func()) {
	for !slices.ContainsFunc(classes(), gateway.Clients.HasPrograms) {
		select {
		case <-ctx.Done():
			return
		case <-recheck:
		}
	}
	var problem string
	var last map[string]gateway.Programs
	filewatch.Run(ctx, filewatch.Options{
		Files:  func() []string { return files(classes()) },
		Settle: time.Millisecond, Poll: 2 * time.Second, Recheck: recheck,
		Warn: func(err error) {
			if problem != err.Error() {
				problem = err.Error()
				log.Warn("users and cgroups are followed slowly", "error", err)
			}
		},
	}, func() {
		if found := Find(classes()); !reflect.DeepEqual(found, last) {
			last = found
			changed()
		}
	})
}

func files(classes []gateway.Clients) (all []string) {
	root, err := cgroupRoot()
	for _, class := range classes {
		if len(class.Users)+len(class.Groups) > 0 {
			all = append(all, "/etc/passwd", "/etc/group")
		}
		for _, name := range class.Cgroups {
			if err == nil {
				all = append(all, filepath.Join(root, name))
			}
		}
	}
	return all
}
