package restore

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// identity tells inodes of one machine apart.
type identity struct{ dev, ino uint64 }

// stat is what is compared with a node.
type stat struct {
	id       identity
	typ      snapshot.NodeType // 0: something a snapshot does not know
	mode     uint32            // 0 … 07777
	uid, gid uint32
	size     int64
	links    uint64
	mtime    snapshot.Time
	device   snapshot.Device
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// again repeats a system call that a signal interrupted (Go's own preemption signals do so on FUSE and NFS).
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = again(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// openTarget opens the directory that the user named; links on the way to it are the user's business.
func openTarget(path string) (int, error) { return openAt(unix.AT_FDCWD, path, dirFlags, 0) }

func openDirAt(dir int, name string) (int, error) {
	return openAt(dir, name, dirFlags|unix.O_NOFOLLOW, 0)
}

func makeDirAt(dir int, name string) error { return unix.Mkdirat(dir, name, 0o700) }

// createAt makes a file that was not there.
func createAt(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
}

// openReadAt never blocks, should the file have been swapped for a fifo.
func openReadAt(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

func openWriteAt(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// openHandleAt pins whatever has this name, a symlink included, without opening it.
func openHandleAt(dir int, name string) (int, error) {
	return openAt(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

func closeFd(fd int) { _ = unix.Close(fd) } // what was written counts as durable after syncfs, whose error is returned

func statAt(dir int, name string) (stat, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return statOf(&st), err
}

func statFd(fd int) (stat, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstat(fd, &st) })
	return statOf(&st), err
}

func statOf(st *unix.Stat_t) stat {
	s := stat{
		id: identity{uint64(st.Dev), st.Ino}, mode: uint32(st.Mode) & 0o7777, uid: st.Uid, gid: st.Gid,
		size: st.Size, links: uint64(st.Nlink), mtime: snapshot.Time{Sec: int64(st.Mtim.Sec), Nsec: uint32(st.Mtim.Nsec)},
	}
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		s.typ = snapshot.File
	case unix.S_IFDIR:
		s.typ = snapshot.Dir
	case unix.S_IFLNK:
		s.typ = snapshot.Symlink
	case unix.S_IFIFO:
		s.typ = snapshot.Fifo
	case unix.S_IFSOCK:
		s.typ = snapshot.Socket
	case unix.S_IFCHR:
		s.typ = snapshot.CharDevice
	case unix.S_IFBLK:
		s.typ = snapshot.BlockDevice
	}
	if s.typ == snapshot.CharDevice || s.typ == snapshot.BlockDevice {
		s.device = snapshot.Device{Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev))}
	}
	return s
}

// makeSpecialAt makes a fifo, socket or device node.
func makeSpecialAt(dir int, name string, n *snapshot.Node) error {
	var kind uint32
	dev := 0
	switch n.Type {
	case snapshot.Fifo:
		kind = unix.S_IFIFO
	case snapshot.Socket:
		kind = unix.S_IFSOCK
	case snapshot.CharDevice:
		kind = unix.S_IFCHR
	case snapshot.BlockDevice:
		kind = unix.S_IFBLK
	default:
		return unix.EINVAL
	}
	if n.Device != nil {
		dev = int(unix.Mkdev(n.Device.Major, n.Device.Minor))
	}
	return unix.Mknodat(dir, name, kind|0o600, dev)
}

func readLinkAt(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// namesIn returns the names in a directory in bytewise order.
func namesIn(dir int) ([]string, error) {
	fd, err := openAt(dir, ".", dirFlags, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), ".")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func isEmptyDir(dir int) (bool, error) {
	names, err := namesIn(dir)
	return len(names) == 0, err
}

// writeAt writes all of b.
func writeAt(fd int, b []byte, off int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}

// readAt fills b; a file that ends before it is done gives fewer bytes and no error.
func readAt(fd int, b []byte, off int64) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Pread(fd, b[done:], off+int64(done))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, err
		}
		if n == 0 {
			break
		}
		done += n
	}
	return done, nil
}

func truncate(fd int, size int64) error {
	return again(func() error { return unix.Ftruncate(fd, size) })
}

// allocate reserves room, so that a full disk is noticed before gigabytes are fetched. File systems that cannot are not
// an error. One in memory would take each page now, 0.1 s for a GiB while all wait; it is asked whether it has room.
func allocate(fd int, size int64) error {
	var fs unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(fd, &fs) }); err == nil && fs.Type == unix.TMPFS_MAGIC {
		if fs.Blocks > 0 && uint64(size)/uint64(fs.Bsize) > fs.Bavail {
			return unix.ENOSPC
		}
		return truncate(fd, size)
	}
	err := again(func() error { return unix.Fallocate(fd, 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return truncate(fd, size)
	}
	return err
}

// punch makes a hole in an existing file; where holes are not to be had it writes zeros.
func punch(fd int, off, length int64) error {
	err := again(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
	})
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	for length > 0 {
		n := min(length, int64(len(zeros)))
		if err := writeAt(fd, zeros[:n], off); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

// nextData returns where the next byte that is not in a hole lies at or after off, end when there is none before it.
func nextData(fd int, off, end int64) (int64, error) {
	at, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return end, nil
	}
	if errors.Is(err, unix.EINVAL) { // the file system does not tell: all of it may be data
		return off, nil
	}
	return min(at, end), err
}

// copyAll copies a file's content on the same machine (shared blocks where the file system can).
func copyAll(from, to int, size int64) error {
	for off := int64(0); off < size; {
		in, out := off, off
		n, err := unix.CopyFileRange(from, &in, to, &out, int(min(size-off, 1<<30)), 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return copyPlain(from, to, off, size)
		case n == 0:
			return nil
		default:
			off += int64(n)
		}
	}
	return nil
}

func copyPlain(from, to int, off, size int64) error {
	buf := make([]byte, 1<<20)
	for off < size {
		n, err := readAt(from, buf[:min(int64(len(buf)), size-off)], off)
		if err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
		if err := writeAt(to, buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// forget drops a file's pages from the cache, so that what is read next comes from the disk.
func forget(fd int) {
	_ = unix.Fdatasync(fd)
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
}

// futimes is futimens(3), which x/sys does not have: utimensat on the descriptor itself, with no name to be swapped.
func futimes(fd int, ts *[2]unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(ts)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// procPath names the very inode that a handle pins, for the calls that take no O_PATH descriptor.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// openLimit is how many descriptors this process may have open.
func openLimit() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 256
	}
	return int(min(lim.Cur, 1<<20))
}
