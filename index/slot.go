package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stateName is the file of a slot that is locked while the slot is in use and says what lies beside it.
const stateName = "state"

// format is the version of everything in a slot; slots of another version are emptied.
const format = 2

// maxState bounds what is read of a state file.
const maxState = 4096

// state is what a slot's state file says.
type state struct {
	Format  int    `json:"format"`
	DB      string `json:"db,omitempty"`      // name of the directory with the database; none when empty
	Dirty   bool   `json:"dirty,omitempty"`   // written to since it was last closed
	Boot    string `json:"boot,omitempty"`    // boot id at that time
	Opening bool   `json:"opening,omitempty"` // a process is just opening it
	Unclean int    `json:"unclean,omitempty"` // times it was opened since it was last closed
	Tables  int    `json:"tables,omitempty"`  // tables it had when it was last closed
}

// distrust says why the database must not be used, or nothing. Badger's files are memory maps: they survive the end of a
// process, but pages reach the disk in any order, so after a power cut a database that was being written is worthless.
func (s state) distrust(boot string) string {
	switch {
	case s.Format != format:
		return fmt.Sprintf("it has format %d, this program writes %d", s.Format, format)
	case s.Dirty && (s.Boot != boot || boot == ""):
		return "the machine went down while it was being written"
	case s.Opening:
		return "the last process ended while opening it"
	case s.Unclean >= uncleanLimit:
		return fmt.Sprintf("%d processes in a row ended without closing it", s.Unclean)
	}
	return ""
}

// slot is one directory with at most one database, locked for this process.
type slot struct {
	dir string
	f   *os.File // the locked state file
	st  state
}

// lockSlot takes the slot or returns ErrBusy. A state file that cannot be understood counts as empty.
func lockSlot(dir string) (*slot, error) {
	for range 10 {
		s, err := tryLock(dir)
		if err != nil || s != nil {
			return s, err
		}
	}
	return nil, fmt.Errorf("lock %s: it is removed again and again", dir)
}

// tryLock returns nil, nil when the slot was removed between opening and locking.
func tryLock(dir string) (*slot, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, stateName), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrBusy
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	s := &slot{dir: dir, f: f}
	if s.gone() {
		f.Close()
		return nil, nil
	}
	s.st = readState(f)
	return s, nil
}

func readState(f *os.File) state {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxState))
	if err != nil || len(b) == 0 {
		return state{Format: format}
	}
	var st state
	if json.Unmarshal(b, &st) != nil || (st.DB != "" && filepath.Base(st.DB) != st.DB) {
		return state{Format: format}
	}
	return st
}

// save writes the state. It is made durable only where sync is set: the mark that a database is dirty must be on the disk
// before its first write, everything else errs on the safe side when it is lost.
func (s *slot) save(sync bool) error {
	b, err := json.Marshal(s.st)
	if err != nil {
		return err
	}
	// Trailing blanks instead of a truncation: a crash in between never leaves an empty file.
	line := make([]byte, max(len(b)+1, 256))
	for i := range line {
		line[i] = ' '
	}
	copy(line, b)
	line[len(line)-1] = '\n'
	if _, err := s.f.WriteAt(line, 0); err != nil {
		return err
	}
	if sync {
		return s.f.Sync()
	}
	return nil
}

// gone says whether the directory was removed, or removed and made anew by somebody else, since it was locked.
func (s *slot) gone() bool {
	mine, err := s.f.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(s.f.Name())
	return err != nil || !os.SameFile(mine, there)
}

// database returns the directory of the database.
func (s *slot) database() string { return filepath.Join(s.dir, s.st.DB) }

// tidy removes whatever lies in the slot and belongs to no database in use.
func (s *slot) tidy() error {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Name() == stateName || (e.Name() == s.st.DB && e.IsDir()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// free returns how many bytes an ordinary user may still write there.
func (s *slot) free() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.f.Fd()), &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// release gives the slot up. Closing the file drops the lock.
func (s *slot) release() error {
	// A process that we started shares the lock until it has executed its program: closing alone would leave it held for that long.
	return errors.Join(unix.Flock(int(s.f.Fd()), unix.LOCK_UN), s.f.Close())
}
