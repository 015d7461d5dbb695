package fedora

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"cairn/agent/source"
	"cairn/remote"
)

// staging is the directory of one run.
type staging struct {
	top  *os.Root // the staging directory
	name string   // of the run's directory in it
	dir  string   // its path
	self *os.Root
	lock *os.File // the directory itself, locked
	made os.FileInfo
	uid  int // -1: as it comes
	gid  int
	mode fs.FileMode
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9._]+`)

// prefix is what the names of the directories of one source and part begin with.
func prefix(name string) string {
	name = strings.Trim(unfit.ReplaceAllString(name, "-"), ".-")
	return "cairn-" + name[:min(len(name), 64)] + "-"
}

// newStaging makes a run's directory. It tells what earlier runs left and this one removed.
func newStaging(part *source.Fedora, name string) (s *staging, left []string, err error) {
	s = &staging{uid: -1, gid: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove())
		}
	}()
	if s.top, err = os.OpenRoot(part.Staging); err != nil {
		return s, nil, remote.WithHint(fmt.Errorf("staging: %w", err), "make the directory, on a disk with room for a whole backup; the server must see it, too")
	}
	if err := s.access(part.Owner); err != nil {
		return s, nil, err
	}
	if left, err = s.sweep(prefix(name)); err != nil {
		return s, left, err
	}
	for try := 0; ; try++ {
		again, err := s.make(part.Staging, prefix(name))
		if err == nil || !again || try == 3 {
			return s, left, err
		}
	}
}

// access finds out whom the directory must belong to, and what its mode is.
func (s *staging) access(owner string) error {
	if owner == "" {
		// The staging directory says it: with mode 2770 and the server's group, both can write.
		info, err := s.top.Stat(".")
		if err != nil {
			return fmt.Errorf("staging: %w", err)
		}
		s.mode = info.Mode().Perm() | 0o700 | info.Mode()&fs.ModeSetgid
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Gid) != os.Getegid() {
			s.gid = int(stat.Gid)
		}
		return nil
	}
	name, group, _ := strings.Cut(owner, ":")
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return fmt.Errorf("owner %s: there is no such user here", name)
		}
	}
	if group == "" {
		group = u.Gid
	} else if g, err := user.LookupGroup(group); err == nil {
		group = g.Gid
	}
	s.mode = 0o770
	if s.uid, err = strconv.Atoi(u.Uid); err == nil {
		s.gid, err = strconv.Atoi(group)
	}
	if err != nil {
		return fmt.Errorf("owner %s: there is no such group here", owner)
	}
	return nil
}

// make makes the directory and locks it. again says that another run's sweep was in the way.
func (s *staging) make(staging, prefix string) (again bool, err error) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	name := prefix + hex.EncodeToString(b[:])
	if err := s.top.Mkdir(name, 0o700); err != nil {
		return false, remote.WithHint(fmt.Errorf("staging: %w", err), "this program must be able to write there")
	}
	s.name, s.dir = name, filepath.Join(staging, name)
	if s.lock, err = s.top.Open(name); err != nil {
		return errors.Is(err, fs.ErrNotExist), fmt.Errorf("staging: %w", err)
	}
	if s.made, err = s.lock.Stat(); err != nil {
		return false, fmt.Errorf("staging: %w", err)
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Is(err, unix.EWOULDBLOCK), fmt.Errorf("lock %s: %w", s.dir, err)
	}
	if now, err := s.top.Lstat(name); err != nil || !os.SameFile(now, s.made) {
		return true, fmt.Errorf("staging: %s was removed", s.dir)
	}
	if s.self, err = s.top.OpenRoot(name); err != nil {
		return false, fmt.Errorf("staging: %w", err)
	}
	if s.uid >= 0 || s.gid >= 0 {
		if err := s.lock.Chown(s.uid, s.gid); err != nil && s.uid >= 0 {
			return false, remote.WithHint(fmt.Errorf("give %s to the server: %w", s.dir, err),
				"only root can: run as root, or leave owner out and make staging writable for a group that both belong to (mode 2770)")
		}
	}
	if err := s.lock.Chmod(s.mode); err != nil {
		return false, fmt.Errorf("staging: %w", err)
	}
	return false, nil
}

// sweep removes what runs left that were killed: directories of this name that nobody has locked.
func (s *staging) sweep(prefix string) (left []string, err error) {
	named := regexp.MustCompile("^" + regexp.QuoteMeta(prefix) + "[0-9a-f]{32}$")
	top, err := s.top.Open(".")
	if err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	defer top.Close() // only read
	for {
		entries, err := top.ReadDir(256)
		for _, e := range entries {
			if e.IsDir() && named.MatchString(e.Name()) && s.sweepOne(e.Name()) {
				left = append(left, e.Name())
			}
		}
		if err != nil || len(entries) == 0 {
			return left, nil
		}
	}
}

func (s *staging) sweepOne(name string) bool {
	f, err := s.top.Open(name)
	if err != nil {
		return false
	}
	defer f.Close() // gives the lock back
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && s.top.RemoveAll(name) == nil
}

// remove removes the run's directory. The server may be writing into it still, when it was not waited for.
func (s *staging) remove() error {
	if s.top == nil {
		return nil
	}
	var err error
	if s.made != nil {
		err = s.removeOwn()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	if s.self != nil {
		err = errors.Join(err, s.self.Close())
	}
	err = errors.Join(err, s.top.Close())
	s.top, s.self, s.lock = nil, nil, nil
	return err
}

func (s *staging) removeOwn() error {
	var err error
	for try := range 5 {
		now, gone := s.top.Lstat(s.name)
		if gone != nil || !os.SameFile(now, s.made) {
			return nil // somebody else removed it
		}
		if err = s.top.RemoveAll(s.name); err == nil || !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
		time.Sleep(100 * time.Millisecond << try)
	}
	if err == nil {
		return nil
	}
	return remote.WithHint(fmt.Errorf("clean up %s: %w", s.dir, err),
		"remove it by hand; the files belong to the user that the server runs as: run as root, or as that user")
}

// free is how much room there is for a user without privileges.
func free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(min(st.Bavail, 1<<62/uint64(max(st.Bsize, 1)))) * st.Bsize, nil
}
