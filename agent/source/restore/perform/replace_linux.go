package perform

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// openFile opens a regular file for reading. A link in its place is not followed.
func openFile(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("is not a regular file"), err, f.Close())
	}
	return f, nil
}

// replaceFile puts a file with other content in the place of an open one.
func replaceFile(root *os.Root, name string, old *os.File, content []byte) (err error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	temp := path.Join(path.Dir(name), ".cairn-"+hex.EncodeToString(b[:])+".tmp")
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temp))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = like(f, old)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Rename(temp, name)
}

// like gives a file the owner, the attributes and the mode of another one, in this order: a change of the owner takes bits of the mode away.
func like(f, old *os.File) error {
	info, err := old.Stat()
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if err := copyAttributes(f, old); err != nil {
		return err
	}
	return f.Chmod(info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky))
}

const maxAttributes = 64 << 10 // of a list of names, and of a value: the kernel's limits

func copyAttributes(f, old *os.File) error {
	buf := make([]byte, maxAttributes)
	n, err := unix.Flistxattr(int(old.Fd()), buf)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	value := make([]byte, maxAttributes)
	for _, name := range bytes.Split(bytes.TrimRight(buf[:n], "\x00"), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		size, err := unix.Fgetxattr(int(old.Fd()), string(name), value)
		if err == nil {
			err = unix.Fsetxattr(int(f.Fd()), string(name), value[:size], 0)
		}
		if errors.Is(err, unix.EPERM) && bytes.HasPrefix(name, []byte("security.")) {
			continue // what a label or a capability of the old file means, only root may say of a new one
		}
		if err != nil && !errors.Is(err, unix.ENODATA) {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}
