package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"cairn/agent/document"
	"cairn/remote"
)

// maxFiles is how many source files a directory may have: it holds files that people write.
const maxFiles = 10_000

// ErrNotExist means that no file of a source was found.
var ErrNotExist = fs.ErrNotExist

// Loaded is one file of a directory: read, or with what is wrong with it.
type Loaded struct {
	Name string // of the source; of the file, without its ending, when it could not be read
	Path string
	File *File // nil with Err
	Err  error
}

// Load reads all source files of directories, in the order of their names. A name that an earlier directory has hides those in later ones. A
// directory that does not exist has no files.
func Load(dirs []string, o ParseOptions) ([]Loaded, error) {
	var all []Loaded
	seen := map[string]string{}
	for _, dir := range dirs {
		names, err := files(dir)
		if err != nil {
			return nil, err
		}
		here := map[string]string{}
		for _, name := range names {
			l := read(filepath.Join(dir, name), o)
			if _, hidden := seen[l.Name]; hidden {
				continue
			}
			if other, twice := here[l.Name]; twice && l.Err == nil {
				l.File, l.Err = nil, fmt.Errorf("%s: source %s is in %s, too", l.Path, l.Name, other)
			}
			here[l.Name] = l.Path
			all = append(all, l)
		}
		for name, path := range here {
			seen[name] = path
		}
	}
	slices.SortStableFunc(all, func(a, b Loaded) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func files(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	entries, err := f.ReadDir(maxFiles)
	if err != nil && len(entries) == 0 && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		// Editors leave .x.yaml.swp and #x.yaml# behind.
		if name := e.Name(); isSourceFile(name) && name[0] != '.' && name[0] != '#' && !e.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func isSourceFile(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")
}

func read(path string, o ParseOptions) Loaded {
	l := Loaded{Name: nameOf(path), Path: path}
	f, err := ReadFile(path, o)
	if err != nil {
		l.Err = err
		return l
	}
	l.Name, l.File = f.Name, f
	return l
}

// ReadFile reads one file.
func ReadFile(path string, o ParseOptions) (*File, error) {
	// Of a named pipe that nobody writes to the open would wait for ever.
	in, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	data, err := io.ReadAll(io.LimitReader(in, document.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("source file: %w", err)
	}
	f, err := Parse(path, data, o)
	if err != nil {
		return nil, err
	}
	f.Path = path
	return f, nil
}

// IsPath says whether what was named is a file and not a source: it has a directory, or the ending of a source file.
func IsPath(name string) bool { return strings.ContainsRune(name, '/') || isSourceFile(name) }

// Find reads the source of a name from the first directory that has it, or the file at a path.
func Find(name string, dirs []string, o ParseOptions) (*File, error) {
	if IsPath(name) {
		return ReadFile(name, o)
	}
	// The file that is named so comes first: it need not matter that others are wrong.
	for _, dir := range dirs {
		for _, ending := range []string{".yaml", ".yml"} {
			l := read(filepath.Join(dir, name+ending), o)
			if errors.Is(l.Err, fs.ErrNotExist) {
				continue
			}
			if l.Err != nil || l.Name == name {
				return l.File, l.Err
			}
		}
	}
	all, err := Load(dirs, o)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range all {
		if l.Name == name && l.File != nil {
			return l.File, nil
		}
		names = append(names, l.Name)
	}
	return nil, remote.WithHint(fmt.Errorf("source %q: %w%s", name, ErrNotExist, document.Suggest(name, names)),
		"source files are looked for in "+strings.Join(dirs, ", ")+"; a path to a file works, too")
}
