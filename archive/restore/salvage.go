package restore

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// incomplete is appended to the name of a file that lacks blobs.
const incomplete = ".incomplete"

// lack notes a blob that will not come.
func (f *file) lack(why error, bytes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost == nil {
		f.lost = why
	}
	f.lacks += bytes
	f.pending--
}

// keepIncomplete lists a file (locked) that lacks blobs, and keeps what came of it under a name that says so. If nothing came, or the name
// is taken, nothing is kept.
func (r *run) keepIncomplete(f *file) {
	err := fmt.Errorf("%d of %d bytes lack: %w", f.lacks, f.layout.data, f.lost)
	if f.lacks < f.layout.data && r.renameIncomplete(f) == nil {
		err = fmt.Errorf("what came of it is in %s%s: %w", f.node.Name, incomplete, err)
	}
	r.spoil(f, lossOf(f.lost), err)
}

func (r *run) renameIncomplete(f *file) error {
	if err := r.writable(f); err != nil {
		return err
	}
	if !f.made {
		return ErrExists // it was there before and stays
	}
	if err := truncate(f.fd, int64(f.node.Size)); err != nil {
		return err
	}
	at, err := r.dirs.use(f.dir)
	if err != nil {
		return err
	}
	defer r.dirs.release(f.dir)
	if err := unix.Renameat2(at, f.name(), at, f.node.Name+incomplete, unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	f.made = false // it is nobody's to remove any more
	return nil
}
