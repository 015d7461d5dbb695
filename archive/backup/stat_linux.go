package backup

import (
	"encoding/binary"
	"errors"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// stat is what a backup needs of a struct stat, with the types of a Node.
type stat struct {
	kind                snapshot.NodeType // 0: something this format does not know
	mode, uid, gid      uint32
	size                uint64
	blocks              int64 // of 512 bytes
	dev, ino, rdev      uint64
	nlink               uint64
	mtime, ctime, atime snapshot.Time
}

func statOf(st *unix.Stat_t) stat {
	s := stat{
		mode: uint32(st.Mode) & snapshot.MaxMode, uid: st.Uid, gid: st.Gid,
		blocks: int64(st.Blocks), dev: uint64(st.Dev), ino: uint64(st.Ino), rdev: uint64(st.Rdev), nlink: uint64(st.Nlink),
		mtime: timeOf(st.Mtim), ctime: timeOf(st.Ctim), atime: timeOf(st.Atim),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		s.kind, s.size = snapshot.File, uint64(max(st.Size, 0))
	case unix.S_IFDIR:
		s.kind = snapshot.Dir
	case unix.S_IFLNK:
		s.kind, s.size = snapshot.Symlink, uint64(max(st.Size, 0))
	case unix.S_IFIFO:
		s.kind = snapshot.Fifo
	case unix.S_IFSOCK:
		s.kind = snapshot.Socket
	case unix.S_IFCHR:
		s.kind = snapshot.CharDevice
	case unix.S_IFBLK:
		s.kind = snapshot.BlockDevice
	}
	return s
}

func timeOf(t unix.Timespec) snapshot.Time {
	return snapshot.Time{Sec: int64(t.Sec), Nsec: uint32(t.Nsec)}
}

func (s *stat) device() snapshot.Device {
	return snapshot.Device{Major: unix.Major(s.rdev), Minor: unix.Minor(s.rdev)}
}

// sparse says whether the file may have holes. Compressing file systems say so of files without any; then
// one SEEK_HOLE settles it.
func (s *stat) sparse() bool { return s.blocks*512 < int64(s.size) }

// again repeats a system call that a signal interrupted: FUSE and NFS return EINTR in spite of SA_RESTART.
func again[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if err != unix.EINTR {
			return v, err
		}
	}
}

func statAt(dir int, name string, follow bool) (stat, error) {
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if follow {
		flags = 0
	}
	var st unix.Stat_t
	for {
		err := unix.Fstatat(dir, name, &st, flags)
		if err == nil {
			return statOf(&st), nil
		}
		if err != unix.EINTR {
			return stat{}, err
		}
	}
}

func statFD(fd int) (stat, error) {
	var st unix.Stat_t
	_, err := again(func() (struct{}, error) { return struct{}{}, unix.Fstat(fd, &st) })
	return statOf(&st), err
}

// statPath is lstat for a path that a user named.
func statPath(path string) (stat, error) { return statAt(unix.AT_FDCWD, path, false) }

// dirent is one raw directory entry.
type dirent struct {
	name string
	ino  uint64
}

// direntBuffer holds about a thousand entries. Made anew for each of 10,000 directories, they were 330 MB to clear.
const direntBuffer = 32 << 10

// readDir returns the entries of an open directory in the order of the file system, without . and .., and
// what had been found when an error came. The names share one string, so a directory costs two allocations. What the kernel gives
// is read into buf, direntBuffer bytes.
func readDir(fd int, buf []byte) ([]dirent, error) {
	var (
		names []byte
		found []dirent
		ends  []int
		fail  error
	)
	for {
		n, err := again(func() (int, error) { return unix.Getdents(fd, buf) })
		if err != nil {
			fail = err
			break
		}
		if n <= 0 {
			break
		}
		for rest := buf[:n]; len(rest) > 0; {
			ino, name, size := parseDirent(rest)
			if size == 0 {
				return nil, errors.New("the kernel returned a malformed directory entry")
			}
			rest = rest[size:]
			if s := string(name); s == "." || s == ".." || s == "" {
				continue
			}
			names = append(names, name...)
			ends = append(ends, len(names))
			found = append(found, dirent{ino: ino})
		}
	}
	all, start := string(names), 0
	for i, end := range ends {
		found[i].name = all[start:end]
		start = end
	}
	return found, fail
}

// parseDirent takes struct linux_dirent64 apart: ino u64, off i64, reclen u16, type u8, name.
func parseDirent(b []byte) (ino uint64, name []byte, size int) {
	const head = 19
	if len(b) < head {
		return 0, nil, 0
	}
	size = int(binary.NativeEndian.Uint16(b[16:]))
	if size < head || size > len(b) {
		return 0, nil, 0
	}
	name = b[head:size]
	for i, c := range name {
		if c == 0 {
			name = name[:i]
			break
		}
	}
	return binary.NativeEndian.Uint64(b), name, size
}

func readLink(dir int, name string, size uint64) (string, error) {
	for n := max(int(min(size, 1<<16))+1, 256); ; n *= 2 { // sizes of links in procfs are 0
		buf := make([]byte, n)
		got, err := again(func() (int, error) { return unix.Readlinkat(dir, name, buf) })
		if err != nil {
			return "", err
		}
		if got < n {
			return string(buf[:got]), nil
		}
		if n > 1<<20 {
			return "", syscall.ENAMETOOLONG
		}
	}
}

// procPath names an entry of an open directory for the calls that know no *at form.
func procPath(dir int, name string) string {
	var b strings.Builder
	b.WriteString("/proc/self/fd/")
	b.WriteString(itoa(dir))
	b.WriteByte('/')
	b.WriteString(name)
	return b.String()
}
