package driver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"cairn/agent/source"
	"cairn/remote"
)

// InUseError means that a program has a database's files open, so that they must be neither copied nor replaced.
type InUseError struct {
	File string // that is locked
	PID  int    // by whom; 0 or less: a program that cannot be seen from here
}

func (e *InUseError) Error() string {
	if e.PID > 0 {
		return fmt.Sprintf("%s is locked by process %d: the database is in use", e.File, e.PID)
	}
	return fmt.Sprintf("%s is locked: the database is in use", e.File)
}

// Hint names the operator's next step.
func (e *InUseError) Hint() string { return "stop the program that uses the database first" }

// Stopped says whether a Derby or H2 database may be copied: nobody may have it open. It is to be asked before and again after the files were
// read. The error is an *InUseError. What may be a leftover of a crash, or belong to a program on another machine, is a warning.
func Stopped(p source.Part) (warnings []string, err error) {
	var locks []string // files that are there only while, or locked while, the database is open
	switch {
	case p.Derby != nil:
		locks = []string{filepath.Join(p.Derby.Path, "db.lck"), filepath.Join(p.Derby.Path, "dbex.lck")}
	case p.H2 != nil:
		stem := strings.TrimSuffix(strings.TrimSuffix(p.H2.Path, ".mv.db"), ".h2.db")
		for _, file := range []string{stem + ".mv.db", stem + ".h2.db"} {
			if err := locked(file); err != nil {
				return nil, err
			}
		}
		locks = []string{stem + ".lock.db"}
	default:
		return nil, errors.New("not a database that has to be stopped")
	}
	for _, file := range locks {
		if err := locked(file); err != nil {
			return nil, err
		}
		if _, err := os.Lstat(file); err == nil {
			warnings = append(warnings, file+" is there: the database was not closed, or is open on another machine")
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return warnings, nil
}

// locked returns an *InUseError when a process has a lock on the file, or on a part of it. A file that is not there is not locked.
func locked(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// This process has no locks on such files, so closing it drops none.
	defer f.Close() //nolint:errcheck // only asked
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil {
		return fmt.Errorf("ask for locks on %s: %w", file, err)
	}
	if l.Type != unix.F_UNLCK {
		return &InUseError{file, int(l.Pid)}
	}
	return nil
}

const derbyLimit = 1 << 20 // directories that are looked at

// FindDerby returns the directories below root that hold an embedded Derby database.
func FindDerby(ctx context.Context, root string) ([]string, error) {
	var found []string
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case !d.IsDir():
			return nil
		}
		if n++; n > derbyLimit {
			return remote.WithHint(fmt.Errorf("%s has more than %d directories", root, derbyLimit), "name the databases as parts of their own")
		}
		_, noProperties := os.Lstat(filepath.Join(path, "service.properties"))
		_, noSegment := os.Lstat(filepath.Join(path, "seg0"))
		if noProperties == nil && noSegment == nil {
			found = append(found, path)
			return filepath.SkipDir
		}
		return nil
	})
	return found, err
}

// takeOwner gives a file the owner that another one has, if that is somebody else.
func takeOwner(file string, like os.FileInfo) error {
	st, ok := like.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return nil
	}
	return os.Lchown(file, int(st.Uid), int(st.Gid))
}
