package lists

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nameroute/nameroute/gateway/pkg/statefile"
)

// loadingName is the file that names the list that is being loaded. If the process dies
// meanwhile, for want of memory or by a fault, the next one knows which list it was.
const loadingName = "loading.json"

// maxDeaths is how many processes may die while they load a list before it is left alone
// until its file changes. One may have been killed by chance, or by a power cut.
const maxDeaths = 2

// errDeadly is the error of a list that is left alone.
var errDeadly = fmt.Errorf("the process ended %d times while it was loaded, so that it is not loaded again until the file changes; `touch` lets it try", maxDeaths)

// loading remembers which lists processes died of. A nil one remembers nothing.
type loading struct {
	file string
	log  *slog.Logger
	loadingState
}

type loadingState struct {
	Now    string           `json:"now,omitempty"` // the file that is being loaded
	Deaths map[string]death `json:"deaths,omitempty"`
}

// death is how often a process died while it loaded a file, and which state of the file.
type death struct {
	Times int   `json:"times"`
	Size  int64 `json:"size"`
	Mtime int64 `json:"mtime"` // nanoseconds
}

// newLoading reads what an earlier process left in a directory. "" is no directory.
func newLoading(dir string, log *slog.Logger) *loading {
	if dir == "" {
		return nil
	}
	l := &loading{file: filepath.Join(dir, loadingName), log: log, loadingState: loadingState{Deaths: map[string]death{}}}
	text, err := statefile.ReadFile(l.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.warn(err)
		}
		return l
	}
	if err := json.Unmarshal(text, &l.loadingState); err != nil {
		l.loadingState = loadingState{} // cut short by a power cut
	}
	if l.Deaths == nil {
		l.Deaths = map[string]death{}
	}
	if now := l.Now; now != "" {
		d := l.Deaths[now]
		d.Times++
		l.Deaths[now] = d
		l.Now = ""
		l.log.Warn("the process before this one ended while it loaded a list", "file", now, "times", d.Times)
		l.write()
	}
	return l
}

// begin is called before a file is loaded. It returns an error for one that is left alone.
func (l *loading) begin(file string) error {
	if l == nil {
		return nil
	}
	d := death{}
	if info, err := os.Stat(file); err == nil {
		d.Size, d.Mtime = info.Size(), info.ModTime().UnixNano()
	}
	if old := l.Deaths[file]; old.Size == d.Size && old.Mtime == d.Mtime {
		if d.Times = old.Times; d.Times >= maxDeaths {
			return errDeadly
		}
	}
	l.Deaths[file], l.Now = d, file
	l.write()
	return nil
}

// end is called when a file was loaded and nothing can happen by it any more.
func (l *loading) end() {
	if l == nil {
		return
	}
	l.Now = ""
	for file, d := range l.Deaths {
		if d.Times < maxDeaths {
			delete(l.Deaths, file)
		}
	}
	if len(l.Deaths) > 0 {
		l.write()
	} else if err := os.Remove(l.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.warn(err)
	}
}

// write does not wait for the disk: what it says is about the death of this process, and not
// of the machine.
func (l *loading) write() {
	text, err := json.Marshal(l.loadingState)
	if err == nil {
		_, err = statefile.Displace(l.file)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(l.file), 0o755)
	}
	var f *os.File
	if err == nil {
		f, err = statefile.OpenFile(l.file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.warn(err)
	}
}

func (l *loading) warn(err error) {
	l.log.Warn("the list that is being loaded cannot be noted: a list that ends the process would do it again", "file", l.file, "error", err)
}
