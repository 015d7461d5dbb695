package nasty

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

func (t *tree) modes() {
	t.dir("modes")
	for _, mode := range []uint32{0, 0o111, 0o200, 0o222, 0o400, 0o444, 0o600, 0o755, 0o777, 0o1644, 0o2755, 0o4755, 0o6711, 0o7777} {
		name := fmt.Sprintf("modes/file %04o", mode)
		t.file(name, []byte(name))
		t.lockLater(name, mode)
	}
	for _, mode := range []uint32{0, 0o111, 0o300, 0o444, 0o500, 0o700, 0o1777, 0o2770, 0o2755, 0o7777} {
		name := fmt.Sprintf("modes/dir %04o", mode)
		t.dir(name)
		t.file(name+"/inside", []byte(name))
		t.dir(name + "/dir inside")
		t.lockLater(name, mode)
	}
}

func (t *tree) owners() {
	t.dir("owners")
	for _, c := range []struct {
		name     string
		uid, gid int
	}{{"another", 1234, 5678}, {"largest", 1<<32 - 2, 1<<32 - 2}, {"group", 0, 33}, {"over 16 bits", 65537, 65536}} {
		name := "owners/" + c.name
		t.file(name, []byte(name))
		t.symlink("x", name+" symlink")
		for _, n := range []string{name, name + " symlink"} {
			t.try("owner of "+n, t.at(n, func(dir int, base string) error {
				return unix.Fchownat(dir, base, c.uid, c.gid, unix.AT_SYMLINK_NOFOLLOW)
			}))
		}
	}
	// giving a file away clears setuid: a restore has to chown first
	t.file("owners/setuid of another", []byte("x"))
	t.try("owner of owners/setuid of another", t.at("owners/setuid of another", func(dir int, base string) error {
		return unix.Fchownat(dir, base, 1234, 5678, unix.AT_SYMLINK_NOFOLLOW)
	}))
	t.lockLater("owners/setuid of another", 0o6755)
}

// xattr sets an attribute of the thing itself, symlink or not.
func (t *tree) xattr(name, attribute string, value []byte) bool {
	return t.try(fmt.Sprintf("xattr %q of %s", attribute, name), t.at(name, func(dir int, base string) error {
		return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", dir, base), attribute, value, 0)
	}))
}

func (t *tree) xattrs() {
	t.dir("xattrs")
	t.dir("xattrs/dir")
	t.file("xattrs/dir/inside", nil)
	for _, name := range []string{"text", "binary", "empty value", "big", "many", "long name", "capability", "trusted", "read-only"} {
		t.file("xattrs/"+name, []byte(name))
	}
	t.symlink("nowhere", "xattrs/symlink")
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	t.xattr("xattrs/text", "user.comment", []byte("höchst wichtig"))
	t.xattr("xattrs/binary", "user.bytes", all)
	t.xattr("xattrs/binary", "user.caf\xe9\n", []byte{0})
	t.xattr("xattrs/empty value", "user.empty", nil)
	t.xattr("xattrs/dir", "user.dir", []byte("of a directory"))
	t.xattr("xattrs/read-only", "user.x", []byte("x"))
	t.lockLater("xattrs/read-only", 0o400)
	// ext4 keeps all attributes of an inode in one block of 4 KiB; others take 64 KiB
	if !t.xattr("xattrs/big", "user.big", t.bytes("xattr", 60000)) {
		t.xattr("xattrs/big", "user.big", t.bytes("xattr", 3500))
	}
	for i := range 50 {
		t.xattr("xattrs/many", fmt.Sprintf("user.%02d", 49-i), []byte{byte(i)})
	}
	t.xattr("xattrs/long name", "user."+strings.Repeat("n", 250), []byte("x"))
	t.xattr("xattrs/trusted", "trusted.x", all)
	t.xattr("xattrs/symlink", "trusted.link", []byte("of a symlink"))
	// CAP_NET_RAW, effective and permitted: revision 2, two words of permitted and inheritable each
	t.xattr("xattrs/capability", "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
}

const (
	userObj  = 1
	user     = 2
	groupObj = 4
	group    = 8
	mask     = 16
	other    = 32
)

// acl encodes an access list as the kernel does: version 2, then tag, permissions and id of each entry.
func acl(entries ...[3]uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

func (t *tree) acls() {
	const nobody = 1<<32 - 1
	list := acl([3]uint32{userObj, 6, nobody}, [3]uint32{user, 4, 1234}, [3]uint32{user, 7, 4000000000}, [3]uint32{groupObj, 4, nobody},
		[3]uint32{group, 0, 4321}, [3]uint32{mask, 5, nobody}, [3]uint32{other, 0, nobody})
	const access, deflt = "system.posix_acl_access", "system.posix_acl_default"
	t.dir("acls")
	t.dir("acls/access")
	t.dir("acls/default")
	t.dir("acls/both")
	t.file("acls/file", []byte("x"))
	t.file("acls/file with attributes", []byte("x"))
	t.file("acls/without write", []byte("x"))
	t.file("acls/default/before the list", []byte("x"))
	t.xattr("acls/file", access, list)
	t.xattr("acls/file with attributes", "user.x", []byte("x"))
	t.xattr("acls/file with attributes", access, list)
	t.xattr("acls/without write", "user.x", []byte("x"))
	t.xattr("acls/without write", access, acl([3]uint32{userObj, 4, nobody}, [3]uint32{user, 6, 1234}, [3]uint32{groupObj, 0, nobody},
		[3]uint32{mask, 6, nobody}, [3]uint32{other, 0, nobody}))
	t.xattr("acls/access", access, list)
	t.xattr("acls/default", deflt, list)
	t.file("acls/default/inherited", []byte("x"))
	t.dir("acls/default/inherited too")
	t.xattr("acls/both", access, list)
	t.xattr("acls/both", deflt, list)
}
