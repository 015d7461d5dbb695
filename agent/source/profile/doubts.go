package profile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"cairn/agent/source"
)

// Doubts are what a source file may well say, and what would nevertheless be missed on the day of the restore. A mistake is what Parse
// refuses; these are for a person to look at. Each is one sentence or two.
func Doubts(f *source.File) []string {
	var doubts []string
	for _, look := range []func(*source.File) string{noObjectDatabase, noInventory, ignoredHeads, filesFirst, openDatabase, neverStarted} {
		if text := look(f); text != "" {
			doubts = append(doubts, text)
		}
	}
	return doubts
}

func isDatabase(p *source.Part) bool { return p.Postgres != nil || p.MariaDB != nil || p.SQLite != nil }

func hasDatabase(f *source.File) bool {
	return slices.ContainsFunc(f.Parts, func(p source.Part) bool { return isDatabase(&p) || p.Derby != nil || p.H2 != nil || p.Command != nil })
}

// verified are the paths of a format.
func verified(f *source.File, format string) (paths []string) {
	for _, v := range f.Verify {
		if v.Format == format {
			paths = append(paths, v.Path)
		}
	}
	return paths
}

// dataTrees counts the trees whose data are backed up.
func dataTrees(f *source.File) (n int) {
	for i := range f.Parts {
		if p := &f.Parts[i]; p.Tree != nil && p.Class == source.Data {
			n++
		}
	}
	return n
}

// noObjectDatabase: a binary store of Fedora by itself (C16).
func noObjectDatabase(f *source.File) string {
	paths := verified(f, "content-tree")
	if len(paths) == 0 || hasDatabase(f) || dataTrees(f) > len(paths) {
		return ""
	}
	return fmt.Sprintf("%s is a binary store without its object database: values below 4096 bytes, and all that says what is what, are in there", paths[0])
}

// noInventory: JOC keeps everything in a database, and the profile cannot know in which.
func noInventory(f *source.File) string {
	if f.Profile != "js7-joc" || hasDatabase(f) {
		return ""
	}
	return "no database is named: inventory, history and daily plan of JOC would not be backed up (postgres_databases, mariadb_databases)"
}

// ignoredHeads: Seafile's manual leaves these tables out beside a real-time backup server, which has them; with files they are needed.
func ignoredHeads(f *source.File) string {
	if len(verified(f, "seafile")) == 0 {
		return ""
	}
	for i := range f.Parts {
		if f.Parts[i].MariaDB == nil {
			continue
		}
		for _, name := range f.Parts[i].MariaDB.IgnoreTable {
			if _, table, _ := strings.Cut(name, "."); slices.Contains([]string{"Repo", "Branch", "RepoHead"}, table) {
				return name + " is left out: without the tables Repo, Branch and RepoHead every library is lost on a restore, unless a real-time backup server has them"
			}
		}
	}
	return ""
}

// filesFirst: a dump that is newer than the files refers to what they do not have.
func filesFirst(f *source.File) string {
	for _, v := range f.Verify {
		if v.Format != "seafile" && v.Format != "content-tree" {
			continue
		}
		tree := slices.IndexFunc(f.Parts, func(p source.Part) bool { return p.Tree != nil && p.Tree.Path == v.Path })
		for i := range f.Parts {
			if tree >= 0 && i > tree && isDatabase(&f.Parts[i]) {
				return fmt.Sprintf("%s is read before the database of part %s: what is written in between would be in the database only; put the database first", v.Path, f.Parts[i].Name)
			}
		}
	}
	return ""
}

// openDatabase: files of a database that nothing stops (C17: LevelDB).
func openDatabase(f *source.File) string {
	if stops(f.Hooks.Before) || len(f.Guards.Backup) > 0 {
		return ""
	}
	for i := range f.Parts {
		switch p := &f.Parts[i]; {
		case p.Derby != nil || p.H2 != nil:
			return fmt.Sprintf("part %s is a database that has to be stopped, and no hook stops it", p.Name)
		case p.Tree != nil && p.Class == source.Data && strings.Contains(strings.ToLower(path.Base(p.Tree.Path)), "leveldb"):
			return fmt.Sprintf("%s looks like a LevelDB: copied while it is open it is worth nothing, and no hook stops what uses it", p.Tree.Path)
		}
	}
	return ""
}

// stops says whether hooks do something: `true` is how a profile says that there is nothing to do.
func stops(hooks []source.Hook) bool {
	return slices.ContainsFunc(hooks, func(h source.Hook) bool { return h.Shell != "true" })
}

func neverStarted(f *source.File) string {
	if !stops(f.Hooks.Before) || len(f.Hooks.Finally) > 0 {
		return ""
	}
	return fmt.Sprintf("hook %s is run before the reading, and there are no finally hooks: what it stops stays stopped", f.Hooks.Before[0].Name)
}
