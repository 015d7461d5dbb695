package nasty

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// times are files and a directory with times at the borders: before 1970, at it, one nanosecond after it,
// beyond 32 bits, and at the end of what ext4 (2446) and int64 nanoseconds (2262) can tell.
func (t *tree) times() {
	t.dir("times")
	for name, ts := range map[string]unix.Timespec{
		"1901": {Sec: -1 << 31}, "1902": {Sec: -2145916800, Nsec: 999999999}, "before 1970": {Sec: -1, Nsec: 1}, "end of 1969": {Sec: -1, Nsec: 999999999},
		"1970": {}, "first nanosecond": {Nsec: 1}, "with ns": {Sec: 1500000000, Nsec: 123456789},
		"2038 last": {Sec: 1<<31 - 1, Nsec: 999999999}, "2038": {Sec: 1 << 31}, "2040": {Sec: 2208988800, Nsec: 7}, "2106": {Sec: 1 << 32},
		"2200": {Sec: 7258118400, Nsec: 999999999}, "2270": {Sec: 9467280000, Nsec: 1}, "2446": {Sec: 15032385535},
	} {
		t.file("times/"+name, []byte(name))
		t.dir("times/dir " + name)
		t.symlink(name, "times/symlink "+name)
		t.pinned["times/"+name], t.pinned["times/dir "+name], t.pinned["times/symlink "+name] = ts, ts, ts
	}
}

// setTimes gives everything the mtime that was chosen for it or one that follows from its path, and notes what
// the file system does not keep. Names of one inode get the time of one of them: the smallest path's.
func (t *tree) setTimes() {
	if t.err != nil {
		return
	}
	f, err := t.root.Open(".")
	if err != nil {
		t.fail("open", ".", err)
		return
	}
	defer f.Close()
	first := map[uint64]string{}
	t.fail("walk", ".", walk(f, "", func(v visit) error {
		if was, ok := first[v.stat.Ino]; !ok || v.path < was {
			first[v.stat.Ino] = v.path
		}
		return nil
	}))
	if _, err := f.Seek(0, 0); err != nil {
		t.fail("rewind", ".", err)
	}
	t.fail("walk", ".", walk(f, "", func(v visit) error {
		if v.stat.Mode&unix.S_IFMT == unix.S_IFDIR && !v.after {
			return nil
		}
		return t.setTime(v, first[v.stat.Ino])
	}))
	t.fail("set time", ".", unix.UtimesNanoAt(int(f.Fd()), ".", []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0))
}

func (t *tree) setTime(v visit, path string) error {
	ts, pinned := t.pinned[path]
	if !pinned {
		b := t.bytes("time of "+path, 8)
		n := binary.LittleEndian.Uint64(b)
		ts = unix.Timespec{Sec: int64(n % 2e9), Nsec: int64(n >> 32 % 1e9)}
	}
	if err := unix.UtimesNanoAt(v.dir, v.name, []unix.Timespec{{Sec: 1e9}, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time of %q: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(v.dir, v.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if st.Mtim != ts {
		t.skipped = append(t.skipped, fmt.Sprintf("mtime of %q: the file system made %d.%09d of %d.%09d",
			path, st.Mtim.Sec, st.Mtim.Nsec, ts.Sec, ts.Nsec))
	}
	return nil
}
