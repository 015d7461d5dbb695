// Package profile has the profiles that ship with the program: source files for products, that wait for a few variables.
//
// Each is a file in files/, embedded. What it says about a product follows what the product's own manual says about backup and restore;
// docs/profiles.md explains each of them, with the way back from a dead disk. A profile names no machine and no secret: variables say where
// the application is, and secrets are read from files.
//
// Everything here is constant and may be used from several goroutines. Nothing is read but the program itself.
package profile

import (
	"embed"
	"path"
	"strings"
)

//go:embed files/*.yaml
var files embed.FS

// Names are the names of all profiles, sorted.
func Names() []string {
	entries, err := files.ReadDir("files")
	if err != nil {
		return nil // the directory is part of the program
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), path.Ext(e.Name())))
	}
	return names
}

// Text is a profile as it was written. It fits source.Profiles.
func Text(name string) ([]byte, bool) {
	text, err := files.ReadFile("files/" + name + ".yaml")
	return text, err == nil
}
