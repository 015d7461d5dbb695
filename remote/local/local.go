// Package local is a remote.Store in a directory: object "a/b" is the file a/b below it.
//
// Put writes a temporary file beside the object, syncs and renames it and syncs the directories (write.go), so an object
// is there whole or not at all, after a power cut too. A crash leaves at most temporary files, whose names
// (remote.TempPrefix) no object can have; List removes those it meets once they are a day old. Directories that have become
// empty stay. Nothing outside the directory is ever touched: names are resolved by os.Root, and a symbolic link that
// leads out is an error. Symbolic links are not objects and List skips them.
//
// A Store is safe for concurrent use, and so are any number of Stores in any number of processes on one
// directory. File systems that do not tell "A" and "a" apart are not suitable for names that need it.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"cairn/remote"
)

// Options of a Store. The zero value is durable.
type Options struct {
	// NoSync leaves out every fsync. For tests only: a power cut may then lose or empty what Put reported as stored.
	NoSync bool
	// Around, if set, is called for each change of the disk and makes it by calling do, whose error it returns. For tests only: it records
	// what a power cut may take back, or ends the process in the middle of a Put. It may be called concurrently.
	Around func(c Change, do func() error) error
	// Now is the clock of this machine; nil means time.Now.
	Now func() time.Time
}

// Store keeps objects as files.
type Store struct {
	dir   string // for messages
	root  *os.Root
	o     Options
	known known
	fsync func(*os.File) error // tests watch it
	now   func() time.Time
	swept sync.Map // directories above listed ones in which temporary files were looked for
}

// Open opens a directory that exists. It does not look into it.
func Open(dir string) (*Store, error) { return OpenWith(dir, Options{}) }

// OpenWith is Open with options.
func OpenWith(dir string, o Options) (*Store, error) {
	info, err := os.Stat(dir) // OpenRoot of a fifo would wait for a writer
	if err == nil && !info.IsDir() {
		err = syscall.ENOTDIR
	}
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(dir)
	}
	if err != nil {
		return nil, openError(dir, err)
	}
	s := &Store{dir: dir, root: root, o: o, fsync: (*os.File).Sync, now: time.Now}
	if o.Now != nil {
		s.now = o.Now
	}
	if o.NoSync {
		s.fsync = func(*os.File) error { return nil }
	}
	return s, nil
}

// Create opens a directory and makes it, and its parents, if they do not exist, for this user alone (0700).
func Create(dir string) (*Store, error) { return CreateWith(dir, Options{}) }

// CreateWith is Create with options.
func CreateWith(dir string, o Options) (*Store, error) {
	if err := makeDirs(dir, o); err != nil {
		return nil, createError(dir, err)
	}
	return OpenWith(dir, o)
}

// makeDirs is os.MkdirAll that syncs the directories in which it makes others.
func makeDirs(dir string, o Options) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if parent := filepath.Dir(dir); parent != dir {
			if err := makeDirs(parent, o); err != nil {
				return err
			}
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // a directory, or something that OpenRoot refuses with a better message
	}
	if err != nil || o.NoSync {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return syncDir(parent, (*os.File).Sync)
}

// Near says that requests cost little (remote.Near).
func (s *Store) Near() {}

// Close gives the directory's file descriptor back. The Store cannot be used afterwards.
func (s *Store) Close() error { return s.root.Close() }

// Get reads a range with one read straight into dst.
func (s *Store) Get(ctx context.Context, name string, off, n int64, dst []byte) ([]byte, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	f, info, err := s.open(name)
	if err != nil {
		return nil, s.readError("get", name, err)
	}
	defer f.Close()
	start, length, err := remote.Span(name, info.Size(), off, n)
	if err != nil {
		return nil, err
	}
	dst = remote.Into(dst, length)
	if _, err := f.ReadAt(dst, start); err != nil {
		if err == io.EOF { // somebody truncates the file at this moment
			err = io.ErrUnexpectedEOF
		}
		return nil, s.explain("get", name, err)
	}
	return dst, nil
}

// open opens the file of an object. What is not a regular file is no object.
func (s *Store) open(name string) (*os.File, fs.FileInfo, error) {
	// Without O_NONBLOCK, opening a fifo that somebody put there would wait for a writer.
	f, err := s.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Stat returns the size and modification time of an object's file.
func (s *Store) Stat(ctx context.Context, name string) (remote.Info, error) {
	if err := check(ctx, name); err != nil {
		return remote.Info{}, err
	}
	info, err := s.root.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return remote.Info{}, s.readError("stat", name, err)
	}
	return remote.Info{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete removes the file of an object and syncs its directory.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	info, err := s.root.Lstat(name)
	if err == nil && info.IsDir() {
		return nil // Remove would take an empty directory away
	}
	if err == nil {
		err = s.remove(name)
	}
	if err == nil {
		err = s.sync(parent(name))
	}
	if err != nil {
		err = s.readError("delete", name, err)
	}
	if errors.Is(err, remote.ErrNotExist) {
		return nil
	}
	return err
}

func check(ctx context.Context, name string) error {
	if err := remote.ValidName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// readError is explain for operations to which a missing object is an answer. It is one only while the directory
// itself exists: in one that was removed under us nothing is certain.
func (s *Store) readError(op, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return s.explain(op, name, err)
	}
	if err := s.alive(); err != nil {
		return err
	}
	return fmt.Errorf("%s %s in %s: %w", op, name, s.dir, remote.ErrNotExist)
}

// alive returns an error if the directory was removed after Open.
func (s *Store) alive() error {
	info, err := s.root.Stat(".")
	if err != nil {
		return s.explain("stat", ".", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return remote.WithHint(fmt.Errorf("directory %s was removed or replaced: %w", s.dir, remote.ErrUnavailable),
			"put "+s.dir+" back, then run the command again")
	}
	return nil
}
