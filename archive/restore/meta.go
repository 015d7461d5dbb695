package restore

import (
	"bytes"
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"cairn/snapshot"
)

// entry names something in warnings; the path is put together only when it is needed.
type entry struct {
	dir  *dir
	name string
}

func (e entry) path() string {
	if e.name == "" {
		return e.dir.path()
	}
	return join(e.dir.path(), e.name)
}

// metaDiffers compares metadata with what is there.
func (r *run) metaDiffers(h handle, was stat, n *snapshot.Node) bool {
	if n == nil {
		return false
	}
	if was.typ != snapshot.Symlink && was.mode != n.Mode&0o7777 || was.mtime != n.Mtime {
		return true
	}
	if !r.o.NoOwner {
		if uid, gid := r.owner(n); was.uid != uid || was.gid != gid {
			return true
		}
	}
	return !r.o.NoXattrs && xattrsDiffer(h, n.Xattrs)
}

// setMeta makes an inode's metadata as recorded. What cannot be set is a warning. at and name are where the
// inode is now. clean means that the inode is new and has no extended attributes.
//
// The order matters: a new owner clears setuid, setgid and capabilities; attributes of the user class and ACLs need write
// permission, and an ACL changes the mode; times come last.
func (r *run) setMeta(h handle, at int, name string, e entry, n *snapshot.Node, clean bool) {
	mode := n.Mode & 0o7777
	owned := r.o.NoOwner
	if !r.o.NoOwner {
		owned = r.setOwner(h, e, n)
	}
	if mode&0o6000 != 0 && n.Type != snapshot.Dir && (!owned || r.o.NoOwner) {
		mode = r.withoutPrivilege(h, e, n)
	}
	if !r.o.NoXattrs {
		r.setXattrs(h, e, n, clean)
	}
	if n.Type != snapshot.Symlink {
		if err := h.chmod(at, name, mode); err != nil {
			r.warning(WarnMode, e.path(), err)
		}
	}
	if err := h.setTimes(at, name, n); err != nil {
		r.warning(WarnTime, e.path(), err)
	}
}

func (r *run) setOwner(h handle, e entry, n *snapshot.Node) bool {
	uid, gid := r.owner(n)
	err := h.chown(int(uid), int(gid))
	if err == nil {
		return true
	}
	if !r.root {
		_ = h.chown(-1, int(gid)) // a group that we are in can still be given
		if r.onTheWay(e.path()) {
			return false // /home is root's, and nobody who backed up /home/anna expects otherwise
		}
	}
	r.warning(WarnOwner, e.path(), fmt.Errorf("owner %d:%d: %w", uid, gid, err))
	return false
}

// onTheWay says whether a directory was not backed up itself but leads to what was.
func (r *run) onTheWay(path string) bool {
	return slices.ContainsFunc(r.o.Roots, func(root string) bool { return root != path && below(root, path) })
}

// withoutPrivilege leaves out setuid and setgid where they would lend the rights of another owner than the recorded one.
func (r *run) withoutPrivilege(h handle, e entry, n *snapshot.Node) uint32 {
	mode := n.Mode & 0o7777
	uid, gid := r.owner(n)
	st, err := statFd(h.fd)
	if err != nil || st.uid != uid {
		mode &^= 0o4000
	}
	if err != nil || st.gid != gid {
		mode &^= 0o2000
	}
	if mode != n.Mode&0o7777 {
		r.warning(WarnMode, e.path(), fmt.Errorf("setuid or setgid left out, its owner is another than recorded"))
	}
	return mode
}

// timesOf gives the times to set; an access time that was not recorded is left.
func timesOf(n *snapshot.Node) *[2]unix.Timespec {
	ts := &[2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(n.Mtime)}
	if !n.Atime.IsZero() {
		ts[0] = timespec(n.Atime)
	}
	return ts
}

// removable says whether an attribute that the snapshot does not have is taken away. Others belong to the system
// (security labels) or could not be seen by the backup (trusted).
func removable(name string) bool {
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "system.posix_acl_") || name == "security.capability"
}

func xattrsDiffer(h handle, want []snapshot.Xattr) bool {
	names, err := h.xattrs()
	if err != nil {
		return len(want) > 0
	}
	for _, name := range names {
		if removable(name) && !slices.ContainsFunc(want, func(x snapshot.Xattr) bool { return x.Name == name }) {
			return true
		}
	}
	for _, x := range want {
		value, err := h.xattr(x.Name)
		if err != nil || !bytes.Equal(value, x.Value) {
			return true
		}
	}
	return false
}

func (r *run) setXattrs(h handle, e entry, n *snapshot.Node, clean bool) {
	if !clean {
		names, err := h.xattrs()
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			r.warning(WarnXattr, e.path(), err)
		}
		for _, name := range names {
			if removable(name) && !slices.ContainsFunc(n.Xattrs, func(x snapshot.Xattr) bool { return x.Name == name }) {
				if err := h.removeXattr(name); err != nil {
					r.warning(WarnXattr, e.path(), fmt.Errorf("remove %s: %w", name, err))
				}
			}
		}
	}
	for _, x := range n.Xattrs {
		err := h.setXattr(x.Name, x.Value)
		if errors.Is(err, unix.EACCES) && n.Type != snapshot.Symlink { // an existing file without write permission
			if h.chmod(-1, "", n.Mode&0o7777|0o600) == nil {
				err = h.setXattr(x.Name, x.Value)
			}
		}
		if err != nil {
			r.warning(WarnXattr, e.path(), fmt.Errorf("%s: %w", x.Name, err))
		}
	}
}

// owners looks up names, each once.
type owners struct {
	mu            sync.Mutex
	users, groups map[string]int64 // -1: not known here
}

// owner returns the ids to set.
func (r *run) owner(n *snapshot.Node) (uid, gid uint32) {
	uid, gid = n.UID, n.GID
	if !r.o.OwnerNames {
		return uid, gid
	}
	r.owners.mu.Lock()
	defer r.owners.mu.Unlock()
	if r.owners.users == nil {
		r.owners.users, r.owners.groups = map[string]int64{}, map[string]int64{}
	}
	if id := lookup(r.owners.users, n.User, userID); id >= 0 {
		uid = uint32(id)
	}
	if id := lookup(r.owners.groups, n.Group, groupID); id >= 0 {
		gid = uint32(id)
	}
	return uid, gid
}

func lookup(known map[string]int64, name string, find func(string) (string, error)) int64 {
	if name == "" {
		return -1
	}
	id, ok := known[name]
	if !ok {
		id = -1
		if text, err := find(name); err == nil {
			if n, err := strconv.ParseUint(text, 10, 32); err == nil {
				id = int64(n)
			}
		}
		known[name] = id
	}
	return id
}

func userID(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func groupID(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}
