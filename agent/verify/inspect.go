package verify

import (
	"cairn/agent/format"
	"errors"
	"io/fs"
	"strings"
)

// Item is one of the things that a tree consists of, see Options.Item.
type Item = format.Item

// ErrUnknownTree means that a tree looks like none of the formats.
var ErrUnknownTree = errors.New("looks like none of the known formats")

// Guess finds the format of a tree by what lies at its top.
func Guess(fsys fs.FS, root string) (string, error) {
	entries, err := fs.ReadDir(fsys, root)
	if err != nil {
		return "", err
	}
	has := map[string]bool{}
	for _, d := range entries {
		name := d.Name()
		switch {
		case strings.HasPrefix(name, "documents_") && strings.Contains(name, ".bin"):
			return "modeshape", nil
		case strings.HasPrefix(name, "0=ocfl_"):
			return "ocfl", nil
		case name == "bagit.txt":
			return "bagit", nil
		}
		has[name] = d.IsDir()
	}
	switch {
	case has["commits"] && has["fs"], has["storage"]:
		return "seafile", nil
	}
	return "", ErrUnknownTree
}
