package main

import (
	"os"
	"path/filepath"
	"strings"

	"cairn/agent/document"
	"cairn/agent/source"
)

// parseOptions says where profiles are: beside the source files.
func parseOptions(dirs []string) source.ParseOptions {
	return source.ParseOptions{
		Profiles:     func(name string) ([]byte, bool) { return ownProfile(dirs, name) },
		ProfileNames: profileNames(dirs),
	}
}

// ownProfile reads DIR/profiles/NAME.yaml of the first directory that has it.
func ownProfile(dirs []string, name string) ([]byte, bool) {
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, false
	}
	for _, dir := range dirs {
		data, err := readSmall(filepath.Join(dir, "profiles", name+".yaml"))
		if err == nil {
			return data, true
		}
	}
	return nil, false
}

// readSmall reads a file that people write; one that is too large is cut, for the parser to refuse.
func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > document.MaxSize {
		return make([]byte, document.MaxSize+1), nil
	}
	return os.ReadFile(name)
}

func profileNames(dirs []string) (names []string) {
	for _, dir := range dirs {
		found, _ := filepath.Glob(filepath.Join(dir, "profiles", "*.yaml"))
		for _, name := range found {
			names = append(names, strings.TrimSuffix(filepath.Base(name), ".yaml"))
		}
	}
	return names
}
