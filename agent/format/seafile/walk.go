package seafile

import (
	"cairn/agent/format"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

var (
	kindHead         = format.Damage("missing-head", "the library cannot be opened after a restore (\"No available commits\"): take the head of an older version by hand, or seaf-fsck")
	kindMissing      = format.Damage("missing-object", "the last version of the library comes back without it")
	kindMissingBlock = format.Damage("missing-block", "the last version of the file cannot be read after a restore")
	kindHistory      = format.Doubt("missing-history", "an older version of the library cannot be restored: normal when the library keeps its history for some days only")
	kindOrder        = format.Damage("order", "the database must be dumped before the data is copied: what was changed in between is lost, and its libraries cannot be opened")
	kindNoDump       = format.Doubt("no-dump", "the heads are not known: the newest commit of each library was taken. Without the database nothing can be restored by the server")
	kindNoBranch     = format.Damage("no-heads", "every library is lost on a restore: the tables Repo, Branch and RepoHead must not be left out of the dump (--ignore-table)")
	kindUnlisted     = format.Doubt("not-in-dump", "the server will not show the library after a restore: made after the dump, or deleted and not yet collected")
)

// heads returns the libraries with their heads, from the dumps or, without one, from the storage itself.
func (s *seafile) heads() ([]*library, error) {
	dumps := s.Options.Dumps
	if len(dumps) == 0 {
		dumps = s.streams()
	}
	tables := newTables()
	var last time.Time
	for _, d := range dumps {
		if err := s.dump(d, tables); err != nil {
			return nil, err
		}
		if d.ModTime.After(last) {
			last = d.ModTime
		}
	}
	heads := tables.heads
	switch {
	case len(dumps) == 0:
		s.Found(kindNoDump, s.Root, "no dump of seafile_db was given or found below .cairn/streams")
	case !tables.branch:
		s.Found(kindNoBranch, dumps[0].Name, "there is no table Branch in the dumps")
	}
	if s.guessed = len(heads) == 0 && !tables.branch; s.guessed {
		for id, l := range s.libraries {
			if l.last.ID != "" {
				heads[id] = l.last.ID
			}
		}
	}
	for id, origin := range tables.origins {
		s.at(id).origin = origin
	}
	list := make([]*library, 0, len(heads))
	missing := 0
	for id, head := range heads {
		l := s.at(id)
		l.head, l.name = head, cmp.Or(tables.names[id], l.name)
		list = append(list, l)
		if !s.Exists(s.objectName("commits", id, head)) && l.commits > 0 {
			missing++
		}
	}
	slices.SortFunc(list, func(a, b *library) int { return strings.Compare(a.id, b.id) })
	for id, l := range s.libraries {
		if heads[id] == "" {
			s.Found(kindUnlisted, path.Join(s.storage, "commits", id), "library %s has no head in the dump", l.title())
		}
	}
	s.order(dumps, last, missing)
	for _, l := range list {
		s.Item(l.item(s))
	}
	return list, s.Err()
}

// item describes a library.
func (l *library) item(s *seafile) format.Item {
	facts := map[string]any{"head": l.head, "commits": l.commits, "head_is_there": s.Exists(s.objectName("commits", l.id, l.head)), "head_from": "dump"}
	if s.guessed {
		facts["head_from"] = "newest commit"
	}
	if l.last.Created > 0 {
		facts["newest_commit"] = time.Unix(l.last.Created, 0).UTC().Format(time.RFC3339)
	}
	if l.origin != "" {
		facts["objects_of"] = l.origin
	}
	return format.Item{Kind: "library", ID: l.id, Name: l.name, Path: path.Join(s.storage, "commits", l.id), Facts: facts}
}

// order looks for signs that the dump is newer than the data.
func (s *seafile) order(dumps []format.Dump, last time.Time, missing int) {
	if len(dumps) == 0 {
		return
	}
	known, dataFirst := s.recorded(dumps[0].Name)
	switch {
	case known && dataFirst:
		s.Found(kindOrder, dumps[0].Name, "the run that made the snapshot read the data before it dumped the database")
	case known || missing == 0 || last.Before(s.newest) && !last.IsZero():
	default:
		s.Found(kindOrder, dumps[0].Name, "heads of %d libraries are missing while older versions are there, and nothing in the storage is newer than the dump: the data was copied first", missing)
	}
}

// recorded asks the paper of the run whether the part of the storage was begun before that of the dump had ended.
func (s *seafile) recorded(dump string) (known, dataFirst bool) {
	data, err := s.Read(path.Join(papers, "run.json"), maxCommit)
	if err != nil {
		return false, false // a directory, or made by hand
	}
	var run struct {
		Parts []struct {
			Name  string    `json:"name"`
			Paths []string  `json:"paths"`
			Began time.Time `json:"began"`
			Ended time.Time `json:"ended"`
		} `json:"parts"`
	}
	if json.Unmarshal(data, &run) != nil {
		return false, false
	}
	var began, ended time.Time
	part, _, _ := strings.Cut(strings.TrimPrefix(dump, papers+"/streams/"), "/")
	for _, p := range run.Parts {
		if p.Name == part {
			ended = p.Ended
		}
		for _, top := range p.Paths {
			if top = strings.TrimPrefix(path.Clean(top), "/"); top == s.storage || strings.HasPrefix(s.storage, top+"/") {
				began = p.Began
			}
		}
	}
	return !began.IsZero() && !ended.IsZero(), began.Before(ended)
}

// papers is where a snapshot keeps what is not of the application's own trees.
const papers = ".cairn"

// streams finds the dumps of a snapshot.
func (s *seafile) streams() []format.Dump {
	var list []format.Dump
	if top := path.Join(papers, "streams"); s.IsDir(top) {
		s.Walk(top, func(name string) {
			if !strings.HasSuffix(name, ".sql") {
				return
			}
			d := format.Dump{Name: name, Open: func() (io.ReadCloser, error) { return s.Open(name) }}
			if info, err := fs.Stat(s.FS, name); err == nil {
				d.ModTime = info.ModTime()
			}
			list = append(list, d)
		})
	}
	return list
}

// library walks from the head of a library: first its last version, all of which must be there, then the older ones.
func (s *seafile) library(l *library) {
	next := []string{l.head}
	for head := true; len(next) > 0 && s.Err() == nil; head = false {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if _, there := s.seen.Add(format.NameKey("commit", l.id, id), 0); there || s.seen.Full() {
			continue
		}
		name := s.objectName("commits", l.id, id)
		c, err := s.readCommit(l.id, id)
		switch {
		case errors.Is(err, fs.ErrNotExist) && head:
			s.Found(kindHead, name, "the head of library %s is missing; %d other commits are there", l.title(), l.commits)
		case errors.Is(err, fs.ErrNotExist):
			s.Found(kindHistory, name, "a commit of library %s is missing", l.title())
		case err != nil && head:
			s.Found(kindHead, name, "the head of library %s is damaged; %d commits are there", l.title(), l.commits)
		case err == nil && s.Options.Shallow:
			return
		case err == nil && s.guessed && !s.IsDir(path.Join(s.storage, "fs", l.store())):
			s.Count("shared_folders_not_walked", 1) // only the dump says whose objects they are
		case err == nil:
			s.tree(l, c.Root, head)
			for _, parent := range []string{c.Second, c.Parent} {
				if parent != "" {
					next = append(next, parent)
				}
			}
		}
	}
}

// place is an object that is still to be walked.
type place struct {
	id, path string
	dir      bool
}

// tree walks one version of a library. What was walked before is whole, or has been told.
func (s *seafile) tree(l *library, root string, head bool) {
	next := []place{{root, "/", true}}
	for len(next) > 0 && s.Err() == nil {
		p := next[len(next)-1]
		next = next[:len(next)-1]
		if p.id == emptyID {
			continue
		}
		if _, there := s.seen.Add(format.NameKey("fs", l.store(), p.id), 0); there || s.seen.Full() {
			continue
		}
		name := s.objectName("fs", l.store(), p.id)
		data, err := s.Read(name, format.MaxObject)
		if err != nil {
			s.lacking(kindMissing, head, l, name, p.path, err)
			continue
		}
		o, _, err := parseObject(data)
		if err != nil {
			continue // told when all objects were read
		}
		if !p.dir {
			s.blocks(l, o.Blocks, p.path, head)
			continue
		}
		for _, e := range o.Entries {
			next = append(next, place{e.ID, path.Join(p.path, e.Name), e.isDir()})
		}
	}
}

func (s *seafile) blocks(l *library, blocks []string, file string, head bool) {
	for _, id := range blocks {
		if _, there := s.seen.Add(format.NameKey("block", l.store(), id), 0); there || id == emptyID {
			continue
		}
		name := s.objectName("blocks", l.store(), id)
		if _, err := fs.Stat(s.FS, name); err != nil {
			s.lacking(kindMissingBlock, head, l, name, file, err)
		}
	}
}

// lacking notes an object that is not there. What is there and unreadable has been told.
func (s *seafile) lacking(k format.Kind, head bool, l *library, name, file string, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if !head {
		k = kindHistory
	}
	s.Found(k, name, "is missing; %q in library %s needs it", format.Clip(file), l.title())
}
