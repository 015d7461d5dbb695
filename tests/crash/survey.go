package crash

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
	"cairn/remote"
	"cairn/remote/local"
	"cairn/snapshot"
)

// Survey is what the directories of an archive hold, compared with what the archive needs.
type Survey struct {
	Orphans    []string   // objects that nothing names or needs, with their members
	Incomplete []chunk.ID // snapshots without their mark
	Sessions   []string   // session objects
	Forgotten  []string   // snapshots that a record forgets
	Snapshots  int
	Packs      int
}

// Look compares what lies in the directories of all members of an archive with one layout with what it needs, by a way of its own:
// it walks the directories, reads all segments and all trees, and believes neither a cache nor a check. A pack is needed if a blob of it
// is.
func Look(ctx context.Context, dirs []string, keyFile string) (*Survey, error) {
	a, err := open(ctx, dirs, keyFile)
	if err != nil {
		return nil, err
	}
	defer a.Close() //nolint:errcheck // an index in memory
	l := &looker{a: a, s: &Survey{}, named: map[pack.ID][]chunk.ID{}, segments: map[pack.ID]bool{}, needed: map[chunk.ID]bool{}, snapshots: map[string]bool{}}
	if err := l.segmentsAndSnapshots(ctx); err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if err := l.member(dir); err != nil {
			return nil, err
		}
	}
	slices.Sort(l.s.Orphans)
	return l.s, nil
}

func open(ctx context.Context, dirs []string, keyFile string) (*archive.Archive, error) {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := seal.ParseKeyFile(text)
	if err != nil {
		return nil, err
	}
	var members []archive.Member
	for _, dir := range dirs {
		s, err := local.Open(dir)
		if err != nil {
			return nil, err
		}
		members = append(members, archive.Member{URL: dir, Store: s})
	}
	return archive.Open(ctx, members, archive.Options{
		Credentials: []seal.Credential{{KeyFile: &key}},
		OpenIndex:   func(seal.ArchiveID) (archive.Index, error) { return index.NewMap(), nil },
		Dir:         func(seal.ArchiveID) string { return "" },
		Notice:      func(string) {},
	})
}

type looker struct {
	a         *archive.Archive
	s         *Survey
	named     map[pack.ID][]chunk.ID // by segments: the blobs of a pack
	segments  map[pack.ID]bool       // whether one can be read
	needed    map[chunk.ID]bool      // blobs
	snapshots map[string]bool        // names of their objects
}

func (l *looker) segmentsAndSnapshots(ctx context.Context) error {
	err := l.a.ReadSegments(ctx, func(id pack.ID, columns []pack.Column, err error) error {
		l.segments[id] = err == nil
		for _, c := range columns {
			for _, e := range c.Entries {
				l.named[c.Pack] = append(l.named[c.Pack], e.ID)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	list, damaged, err := l.a.Snapshots(ctx)
	if err != nil {
		return err
	}
	if len(damaged) > 0 {
		return damaged[0]
	}
	l.s.Snapshots = len(list)
	records, err := l.a.Records(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		for _, id := range r.Snapshots {
			l.s.Forgotten = append(l.s.Forgotten, id.String())
		}
	}
	for _, s := range list {
		l.snapshots["snapshots/"+s.ID.String()] = true
		if s.Incomplete {
			l.s.Incomplete = append(l.s.Incomplete, s.ID)
		} else {
			l.snapshots["snapshots/"+s.ID.String()+".ok"] = true
		}
		if err := l.tree(ctx, s.Content, s.Depth); err != nil {
			return fmt.Errorf("snapshot %s: %w", s.ID.Short(), err)
		}
	}
	return nil
}

// tree notes the blobs of a directory and of all below it.
func (l *looker) tree(ctx context.Context, content []chunk.ID, depth uint8) error {
	for n, err := range snapshot.Nodes(ctx, l.load, content, depth) {
		if err != nil {
			return err
		}
		if n.Type == snapshot.Dir {
			if err := l.tree(ctx, n.Content, n.Depth); err != nil {
				return err
			}
			continue
		}
		for id, err := range snapshot.Content(ctx, l.load, n.Content, n.Depth) {
			if err != nil {
				return err
			}
			l.needed[id] = true
		}
	}
	return nil
}

func (l *looker) load(ctx context.Context, id chunk.ID) ([]byte, error) {
	l.needed[id] = true
	return l.a.Load(ctx, chunk.Tree, id)
}

// member looks at each file below a directory.
func (l *looker) member(dir string) error {
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		seen[name] = true
		if why := l.why(name, data); why != "" {
			l.s.Orphans = append(l.s.Orphans, fmt.Sprintf("%s in %s: %s", name, filepath.Base(dir), why))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name := range l.snapshots {
		if !seen[name] {
			l.s.Orphans = append(l.s.Orphans, fmt.Sprintf("%s is not in %s, but on another member", name, filepath.Base(dir)))
		}
	}
	l.s.Packs = len(l.named)
	return nil
}

// why says why an object is an orphan, or nothing.
func (l *looker) why(name string, data []byte) string {
	folder, _, _ := strings.Cut(name, "/")
	id, kind, isPack := pack.ParseName(name)
	switch {
	case strings.HasPrefix(filepath.Base(name), remote.TempPrefix):
		return "a temporary file"
	case name == "cairn.json":
		return ""
	case isPack && kind == chunk.Index:
		if ok, listed := l.segments[id]; !listed || !ok {
			return "a segment that cannot be read"
		}
	case isPack:
		return l.whyPack(id)
	case folder == "snapshots":
		if !l.snapshots[name] {
			return "belongs to no snapshot that counts"
		}
	case folder == "sessions":
		if base := filepath.Base(name); !slices.Contains(l.s.Sessions, base) {
			l.s.Sessions = append(l.s.Sessions, base)
		}
	case folder == "keys" || folder == "gc":
		if err := l.a.VerifyCopy(name, data); err != nil {
			return err.Error()
		}
	default:
		return "no object of an archive has such a name"
	}
	return ""
}

func (l *looker) whyPack(id pack.ID) string {
	blobs, named := l.named[id]
	if !named {
		return "a pack that no segment names"
	}
	for _, b := range blobs {
		if l.needed[b] {
			return ""
		}
	}
	return "a pack of which no snapshot needs anything"
}
