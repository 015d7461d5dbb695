package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"cairn/remote"
)

// explain makes an operator's error of one of the system's: what was done, in which store, the bare cause, and the
// next step. The causes that time may cure stay as they are; all others are marked permanent.
func (s *Store) explain(op, name string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	cause := bare(err)
	wrapped := fmt.Errorf("%s %s in %s: %w", op, name, s.dir, cause)
	if !transient(cause) {
		wrapped = remote.Permanent(wrapped)
	}
	return remote.WithHint(wrapped, hint(cause, s.dir))
}

// writeError is explain for writing: there "does not exist" is about a directory, never about the object.
func (s *Store) writeError(op, name string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return s.explain(op, name, err)
	}
	if err := s.alive(); err != nil {
		return err
	}
	return fmt.Errorf("%s %s in %s: a directory was removed meanwhile", op, name, s.dir)
}

// bare takes the system's wrapping off, which repeats operation and path.
func bare(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.Is(err, errors.ErrUnsupported): // put's own wrapping, to be kept
		return err
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}

// transient says whether time may cure an error. EIO is not among them: the kernel has tried a bad sector again already, and it
// is about one object, where a retry that gives up would call the whole store unavailable.
func transient(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.EAGAIN, syscall.EINTR, syscall.EBUSY, syscall.ENOMEM, syscall.ENFILE, syscall.EMFILE,
		syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.EHOSTUNREACH,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.ENOTCONN:
		return true
	}
	return false
}

// hint returns the operator's next step for the causes that have one.
func hint(err error, dir string) string {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ""
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return ""
	}
	switch errno {
	case syscall.ENOSPC, syscall.EDQUOT:
		return fmt.Sprintf("make room (df -h %[1]s; df -i %[1]s; quota), then run the command again: what was stored already is kept", dir)
	case syscall.EACCES, syscall.EPERM:
		return fmt.Sprintf("user %d needs to own or be allowed to use %s and all below it: look with ls -ld, change with chown or chmod", os.Geteuid(), dir)
	case syscall.EROFS:
		return fmt.Sprintf("the file system of %s is mounted read-only: see findmnt -T %[1]s; after errors of the disk the kernel does that by itself (dmesg)", dir)
	case syscall.ENOTDIR, syscall.EISDIR:
		return fmt.Sprintf("a file stands where a directory is needed, or the reverse: move away what Cairn did not put into %s", dir)
	case syscall.ENFILE, syscall.EMFILE:
		return "too many open files: raise the limit (ulimit -n)"
	case syscall.EIO, syscall.ESTALE, syscall.ENODEV, syscall.ENXIO:
		return fmt.Sprintf("check the disk or network mount of %s (dmesg, smartctl, findmnt -T %[1]s)", dir)
	case syscall.ELOOP:
		return fmt.Sprintf("symbolic links in a circle below %s", dir)
	}
	return ""
}

func openError(dir string, err error) error {
	cause := bare(err)
	h := hint(cause, dir)
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		// Not ErrNotExist: that is said of objects only.
		err = fmt.Errorf("directory %s does not exist: %w", dir, remote.ErrUnavailable)
		h = "mount or create it (cairn init makes a new archive), or correct the address"
		return remote.WithHint(remote.Permanent(err), h)
	case errors.Is(cause, syscall.ENOTDIR):
		h = "name a directory"
		err = fmt.Errorf("open %s: not a directory", dir)
	default:
		err = fmt.Errorf("open %s: %w", dir, cause)
	}
	return remote.WithHint(remote.Permanent(err), h)
}

func createError(dir string, err error) error {
	return remote.WithHint(remote.Permanent(fmt.Errorf("create directory %s: %w", dir, err)), hint(bare(err), dir))
}
