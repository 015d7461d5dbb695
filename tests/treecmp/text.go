package treecmp

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

func typeName(t uint32) string {
	switch t {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFBLK:
		return "block device"
	}
	return fmt.Sprintf("type %#o", t)
}

func stamp(t unix.Timespec) string {
	return time.Unix(t.Sec, t.Nsec).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

func device(d uint64) string {
	return fmt.Sprintf("%d:%d", unix.Major(d), unix.Minor(d))
}
