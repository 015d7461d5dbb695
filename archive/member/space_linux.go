package member

import (
	"golang.org/x/sys/unix"

	"cairn/remote"
)

// space tells how much room there is where a member's directory is.
func space(url string) (free, total uint64, known bool) {
	u, err := remote.ParseURL(url)
	if err != nil || u.Scheme != "file" {
		return 0, 0, false
	}
	var st unix.Statfs_t
	if unix.Statfs(u.Path, &st) != nil || st.Bsize <= 0 {
		return 0, 0, false
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), true
}
