package local

import "os"

// Change is one change of the disk, in the words of a file system. Names are relative to the Store's directory, and "." is that.
type Change struct {
	Op   string `json:"op"`             // one of the constants below
	Name string `json:"name"`           // of the file or directory
	To   string `json:"to,omitempty"`   // of OpRename and OpLink: the new name
	Data []byte `json:"data,omitempty"` // of OpWrite
}

// What a Change does. Those of a Put are, in this order: OpMkDir for each missing directory, OpCreate, OpWrite, OpSync, OpRename, OpSyncDir for each
// directory whose entries are new.
const (
	OpMkDir   = "mkdir"
	OpCreate  = "create"
	OpWrite   = "write"
	OpSync    = "sync" // of a file's content
	OpRename  = "rename"
	OpLink    = "link"
	OpRemove  = "remove"
	OpSyncDir = "syncdir" // of a directory's entries
)

// change makes one change of the disk. Whoever is told of it (Options.Around) makes it, once.
func (s *Store) change(c Change, do func() error) error {
	if s.o.Around == nil {
		return do()
	}
	return s.o.Around(c, do)
}

func (s *Store) mkdir(name string) error {
	return s.change(Change{Op: OpMkDir, Name: name}, func() error { return s.root.Mkdir(name, 0o700) })
}

func (s *Store) create(name string) (f *os.File, err error) {
	err = s.change(Change{Op: OpCreate, Name: name}, func() error {
		f, err = s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	return f, err
}

func (s *Store) write(f *os.File, name string, data []byte) error {
	return s.change(Change{Op: OpWrite, Name: name, Data: data}, func() error {
		_, err := f.Write(data)
		return err
	})
}

func (s *Store) syncFile(f *os.File, name string) error {
	return s.change(Change{Op: OpSync, Name: name}, func() error { return s.fsync(f) })
}

func (s *Store) rename(from, to string) error {
	return s.change(Change{Op: OpRename, Name: from, To: to}, func() error { return s.root.Rename(from, to) })
}

func (s *Store) link(from, to string) error {
	return s.change(Change{Op: OpLink, Name: from, To: to}, func() error { return s.root.Link(from, to) })
}

func (s *Store) remove(name string) error {
	return s.change(Change{Op: OpRemove, Name: name}, func() error { return s.root.Remove(name) })
}
