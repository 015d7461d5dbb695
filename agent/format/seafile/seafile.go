// Package seafile knows Seafile's storage directory (blocks, fs objects and commits of each library), and the tables of a dump that say which
// commit is the head of each library.
package seafile

import (
	"cairn/agent/format"
	"crypto/sha1" // the format's own; not for security
	"encoding/json"
	"path"
	"regexp"
	"sync"
	"time"
)

var (
	kindBlock        = format.Damage("digest", "the files that have this block come back damaged: it is not what was stored")
	kindFS           = format.Damage("damaged-object", "the directory or file that it describes cannot be read, nor what is below: seaf-fsck --repair would leave it empty")
	kindFSName       = format.Doubt("object-name", "normal for objects that the Go file server wrote; otherwise the object was changed")
	kindCommit       = format.Damage("damaged-commit", "the version of the library cannot be read, and when it is the last one, the library cannot be opened")
	kindStraySeafile = format.Doubt("stray", "the server does not look at it; a file that was being written, or left there by hand")
)

var uuidName = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// seafile is one verification of a storage directory.
type seafile struct {
	*format.Run
	storage string
	seen    *format.Set // objects that were walked, by library

	mu        sync.Mutex // guards what follows, while the storage is read
	libraries map[string]*library
	newest    time.Time // file in the storage
	guessed   bool      // heads are the newest commits, because no dump says them
}

// library is what is known of one.
type library struct {
	id, name string
	commits  int64
	last     commit // the newest that is there
	head     string // as the dump says
	origin   string // library that has the objects, for a shared folder
}

func (l *library) title() string {
	if l.name == "" {
		return l.id
	}
	return l.id + " (" + format.Clip(l.name) + ")"
}

// store is the library whose objects this one uses.
func (l *library) store() string {
	if l.origin != "" {
		return l.origin
	}
	return l.id
}

// commit is what is needed of a commit object.
type commit struct {
	ID      string `json:"commit_id"`
	Library string `json:"repo_id"`
	Root    string `json:"root_id"`
	Parent  string `json:"parent_id"`
	Second  string `json:"second_parent_id"`
	Name    string `json:"repo_name"`
	Created int64  `json:"ctime"`
}

// Look reads the storage directory, then what the heads of the dump lead to.
func Look(r *format.Run) error {
	s := &seafile{Run: r, storage: r.Root, seen: format.NewSet(r.Options.Memory), libraries: map[string]*library{}}
	if below := path.Join(r.Root, "storage"); r.IsDir(below) {
		s.storage = below
	}
	for _, section := range []string{"commits", "fs", "blocks"} {
		if !r.IsDir(path.Join(s.storage, section)) {
			r.Found(format.Layout, path.Join(s.storage, section), "is missing: this is no storage directory of Seafile, or only a part of it")
		}
	}
	err := r.Parallel(func(do func(func())) {
		s.section("blocks", do, s.block)
		s.section("fs", do, s.object)
		s.section("commits", do, s.commit)
	})
	if err != nil {
		return err
	}
	heads, err := s.heads()
	if err != nil {
		return err
	}
	err = r.Parallel(func(do func(func())) {
		for _, l := range heads {
			do(func() { s.library(l) })
		}
	})
	r.Count("libraries", int64(len(heads)))
	r.Incomplete(s.seen, "the walk from the heads was cut short, and missing objects may not all be listed")
	return err
}

// section reads all objects of blocks, fs or commits.
func (s *seafile) section(section string, do func(func()), look func(library, id, name string)) {
	top := path.Join(s.storage, section)
	if !s.IsDir(top) {
		return
	}
	for _, d := range s.List(top) {
		if !d.IsDir() || !uuidName.MatchString(d.Name()) {
			s.Found(kindStraySeafile, path.Join(top, d.Name()), "%s where only libraries belong", format.Article(d))
			continue
		}
		s.objects(path.Join(top, d.Name()), func(id, name string) { do(func() { look(d.Name(), id, name) }) })
	}
}

// objects lists <2 hex>/<38 hex>.
func (s *seafile) objects(dir string, object func(id, name string)) {
	for _, two := range s.List(dir) {
		below := path.Join(dir, two.Name())
		if !two.IsDir() || !format.IsHex(two.Name(), 2) {
			s.Found(kindStraySeafile, below, "%s where only directories of two hexadecimal digits belong", format.Article(two))
			continue
		}
		for _, d := range s.List(below) {
			name := path.Join(below, d.Name())
			if !d.Type().IsRegular() || !format.IsHex(d.Name(), 38) {
				s.Found(kindStraySeafile, name, "%s that is not named like an object", format.Article(d))
				continue
			}
			if info, err := d.Info(); err == nil {
				s.mu.Lock()
				if info.ModTime().After(s.newest) {
					s.newest = info.ModTime()
				}
				s.mu.Unlock()
			}
			object(two.Name()+d.Name(), name)
		}
	}
}

func (s *seafile) block(_, id, name string) {
	if s.Options.Shallow {
		s.Count("blocks", 1)
		return
	}
	got, _, err := s.Digest(name, sha1.New())
	switch {
	case err != nil:
		s.Unreadable(name, err)
		return
	case got != id:
		s.Found(kindBlock, name, "the SHA-1 of the block is %s", got)
	}
	s.Count("blocks", 1)
}

func (s *seafile) object(_, id, name string) {
	if s.Options.Shallow {
		s.Count("fs_objects", 1)
		return
	}
	data, err := s.Read(name, format.MaxObject)
	if err != nil {
		s.Unreadable(name, err)
		return
	}
	s.Count("fs_objects", 1)
	o, digest, err := parseObject(data)
	switch {
	case err != nil:
		s.Found(kindFS, name, "%v", err)
	case digest != id:
		s.Found(kindFSName, name, "the SHA-1 of its content is %s", digest)
	case len(o.Entries) > 0:
		s.Count("directories", 1)
	}
}

func (s *seafile) commit(lib, id, name string) {
	c, err := s.readCommit(lib, id)
	if err != nil {
		if s.Err() == nil {
			s.Found(kindCommit, name, "%v", format.Cause(err))
		}
		c = commit{}
	}
	s.Count("commits", 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.at(lib)
	l.commits++
	if err == nil && (l.last.ID == "" || c.Created > l.last.Created || c.Created == l.last.Created && c.ID < l.last.ID) {
		l.last = c
		if c.Name != "" {
			l.name = c.Name
		}
	}
}

// at returns the library, made when it is new. The caller holds mu, or is alone.
func (s *seafile) at(id string) *library {
	l := s.libraries[id]
	if l == nil {
		l = &library{id: id}
		s.libraries[id] = l
	}
	return l
}

func (s *seafile) objectName(section, lib, id string) string {
	return path.Join(s.storage, section, lib, id[:2], id[2:])
}

func (s *seafile) readCommit(lib, id string) (commit, error) {
	data, err := s.Read(s.objectName("commits", lib, id), maxCommit)
	if err != nil {
		return commit{}, err
	}
	return parseCommit(data, lib, id)
}

// maxCommit is far more than a description takes.
const maxCommit = 16 << 20

// parseCommit reads a commit and compares what it says of itself with its name.
func parseCommit(data []byte, lib, id string) (commit, error) {
	var c commit
	if err := json.Unmarshal(data, &c); err != nil {
		return commit{}, notJSON(err)
	}
	for _, link := range []string{c.Parent, c.Second} {
		if link != "" && !format.IsHex(link, 40) {
			return commit{}, badID("parent", link)
		}
	}
	switch {
	case c.ID != id:
		return commit{}, badID("commit", c.ID)
	case c.Library != lib:
		return commit{}, badID("library", c.Library)
	case !format.IsHex(c.Root, 40):
		return commit{}, badID("root", c.Root)
	}
	return c, nil
}
