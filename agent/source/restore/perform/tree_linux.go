package perform

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cairn/agent/source/restore"
	"cairn/snapshot"
)

// lead makes the directories above a tree that are not there, as the snapshot recorded those that it was in: a bare machine has none of them,
// and an application that cannot pass through its home does not start.
func lead(ctx context.Context, p *restore.Plan, t *restore.Tree) error {
	from, to := path.Dir(t.From), path.Dir(t.To)
	var missing []restore.Map
	for to != "/" {
		if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		missing = append(missing, restore.Map{Old: from, New: to})
		from, to = path.Dir(from), path.Dir(to)
	}
	for _, m := range slices.Backward(missing) {
		if err := os.Mkdir(m.New, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		n, err := t.Origin.View().Node(strings.TrimPrefix(m.Old, "/"))
		if m.Old == "/" || err != nil || n.Type != snapshot.Dir {
			continue // nothing is known of it
		}
		if err := likeNode(m.New, n, !p.Options.NoOwner); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// likeNode gives a directory that was just made its owner and mode.
func likeNode(name string, n *snapshot.Node, owner bool) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if os.Geteuid() == 0 && owner {
		if err := unix.Fchown(fd, int(n.UID), int(n.GID)); err != nil {
			return &os.PathError{Op: "chown", Path: name, Err: err}
		}
	}
	return unix.Fchmod(fd, n.Mode&0o7777)
}
