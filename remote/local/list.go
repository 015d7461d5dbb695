package local

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"cairn/remote"
)

// staleAge is when a temporary file is litter of a crash for certain: a Put takes seconds. Should a live one ever be removed, its Put
// fails with an error and is done again.
const staleAge = 24 * time.Hour

// batchSize entries of a directory are held at once, for each level of the walk: 5 levels hold 1280 names, about 100 KB.
const batchSize = 256

// List walks the directories below prefix. It holds one open file per level and a bounded number of names.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[remote.Info, error] {
	return func(yield func(remote.Info, error) bool) {
		if err := remote.ValidPrefix(prefix); err != nil {
			yield(remote.Info{}, err)
			return
		}
		w := &walk{s, ctx, yield}
		dir := strings.TrimSuffix(prefix, "/")
		if dir == "" {
			dir = "."
		}
		w.sweepAbove(path.Dir(dir))
		err := w.dir(dir, prefix)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && err != errStop {
			yield(remote.Info{}, err)
		}
	}
}

var errStop = errors.New("stop")

type walk struct {
	s     *Store
	ctx   context.Context
	yield func(remote.Info, error) bool
}

// dir walks one directory; prefix is its path with a slash, or empty.
func (w *walk) dir(dir, prefix string) error {
	f, err := w.s.root.Open(dir)
	if err == nil {
		defer f.Close()
		if info, serr := f.Stat(); serr != nil || !info.IsDir() {
			err = errors.Join(serr, fs.ErrNotExist)
		}
	}
	if err != nil {
		return w.gone(dir, err)
	}
	for {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		entries, err := f.ReadDir(batchSize)
		for _, e := range entries {
			if err := w.entry(f, prefix, e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return w.gone(dir, err)
		}
	}
}

// gone turns "does not exist" into nothing: there are no objects, or they were deleted meanwhile.
func (w *walk) gone(dir string, err error) error {
	err = w.s.readError("list", dir, err)
	if errors.Is(err, remote.ErrNotExist) {
		return nil
	}
	return err
}

func (w *walk) entry(f *os.File, prefix string, e fs.DirEntry) error {
	name := prefix + e.Name()
	if strings.HasPrefix(e.Name(), remote.TempPrefix) {
		w.sweep(f, name, e.Name())
		return nil
	}
	if remote.ValidName(name) != nil || e.Type()&(fs.ModeType&^fs.ModeDir) != 0 {
		return nil
	}
	if e.IsDir() {
		return w.dir(name, name+"/")
	}
	st, err := stat(f, e.Name())
	if err != nil {
		return w.gone(name, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR: // a file system that does not tell types when it lists
		return w.dir(name, name+"/")
	case unix.S_IFREG:
	default:
		return nil
	}
	info := remote.Info{Name: name, Size: st.Size, Modified: time.Unix(st.Mtim.Unix())}
	if !w.yield(info, nil) {
		return errStop
	}
	return nil
}

// sweepAbove looks once for what a crashed Put of a card left, beside the directories that are listed: hardly anybody lists the one in which it is.
func (w *walk) sweepAbove(dir string) {
	if _, done := w.s.swept.LoadOrStore(dir, true); done {
		return
	}
	f, err := w.s.root.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	entries, err := f.ReadDir(batchSize)
	for err == nil && w.ctx.Err() == nil {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), remote.TempPrefix) {
				w.sweep(f, path.Join(dir, e.Name()), e.Name())
			}
		}
		entries, err = f.ReadDir(batchSize)
	}
}

// sweep removes what a crashed Put left behind. It is no harm if that fails: the store may be read-only.
func (w *walk) sweep(f *os.File, name, base string) {
	st, err := stat(f, base)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return
	}
	written := time.Unix(st.Mtim.Unix())
	if w.s.now().Sub(written) <= staleAge {
		return
	}
	// This machine's clock may be a year ahead, and then every file that is just being written looks old.
	if now, err := w.s.fileTime(path.Dir(name)); err == nil && now.Sub(written) > staleAge {
		_ = w.s.remove(path.Clean(name))
	}
}

// fileTime is the time by the clock that gives the files of a directory theirs, which may be a file server's.
func (s *Store) fileTime(dir string) (time.Time, error) {
	probe := path.Join(dir, remote.TempPrefix+rand.Text())
	f, err := s.create(probe)
	if err != nil {
		return time.Time{}, err
	}
	info, err := f.Stat()
	if err = errors.Join(err, f.Close(), s.remove(probe)); err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// stat is one system call; os.Root.Lstat would open every directory of the path again for each entry.
func stat(dir *os.File, base string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(int(dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW)
		if err != unix.EINTR {
			return &st, err
		}
	}
}
