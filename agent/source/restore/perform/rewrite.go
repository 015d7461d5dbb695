package perform

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"cairn/agent/source/restore"
	"cairn/agent/source/rewrite"
)

// apply changes the file on disk. Its root is opened as it is named; below it no link leads out. The file gets another inode with the owner, mode
// and attributes of the one that it replaces: it is there whole all the time.
func apply(w *restore.Rewrite) (changed bool, err error) {
	dir, name := w.Root, strings.TrimPrefix(strings.TrimPrefix(w.Path, w.Root), "/")
	if name == "" { // the root is this file
		dir, name = path.Dir(w.Path), path.Base(w.Path)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = root.Close() }()
	f, err := openFile(root, name)
	if err != nil {
		return false, fmt.Errorf("%s: %w", w.Path, err)
	}
	defer func() { _ = f.Close() }() // only read
	before, err := io.ReadAll(io.LimitReader(f, rewrite.MaxSize+1))
	if err != nil {
		return false, err
	}
	after := before
	for _, r := range w.Rules {
		if !restore.IsSet(r) {
			continue
		}
		if after, _, err = rewrite.Apply(r, after); err != nil {
			return false, fmt.Errorf("%s: %w", w.Path, err)
		}
	}
	if bytes.Equal(before, after) {
		return false, nil
	}
	if err := replaceFile(root, name, f, after); err != nil {
		return false, fmt.Errorf("%s: %w", w.Path, err)
	}
	return true, nil
}
