package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"cairn/remote"
)

// An archive file is YAML that names the members, so that a long list need not be typed:
//
//	members:
//	  - /mnt/a
//	  - /mnt/b
//	key_file: /etc/cairn/key
//	limits: {upload: 10M, download: 50M}
//
// Relative paths in it are relative to the file, also those of options in addresses.
type archiveFile struct {
	Members         []string   `yaml:"members"`
	KeyFile         string     `yaml:"key_file"`
	PasswordFile    string     `yaml:"password_file"`
	PasswordCommand string     `yaml:"password_command"`
	Limits          limitsFile `yaml:"limits"`
}

// place says which archive is meant and how it may be opened.
type place struct {
	members   []string
	path      string      // of the archive file, when the archive was named by one
	file      archiveFile // what is in it
	isDefault bool        // nothing was configured: the user's own archive
	asOf      time.Time   // the archive is to be seen as it was then; zero: as it is
}

// where finds out which archive a command is about: flag, environment, or the default one.
func (e *env) where(c *cli.Context) (*place, error) {
	named := values(c, "archive")
	if len(named) == 0 {
		named = splitMembers(e.getenv("CAIRN_ARCHIVE"))
	}
	named, at, err := e.setAsOf(c, named)
	if err != nil {
		return nil, err
	}
	p, err := e.whereNamed(named)
	if err != nil {
		return nil, err
	}
	p.asOf = at
	return p, nil
}

// whereNamed finds an archive by what was named; by nothing, the default one.
func (e *env) whereNamed(named []string) (*place, error) {
	if len(named) == 0 {
		data, err := e.dataDir()
		if err != nil {
			return nil, err
		}
		return &place{members: []string{filepath.Join(data, "archive")}, isDefault: true}, nil
	}
	return placeOf(named)
}

func readArchiveFile(name string) (*place, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p := &place{path: name}
	if err := yaml.UnmarshalWithOptions(data, &p.file, yaml.Strict()); err != nil {
		return nil, hint(fmt.Errorf("archive file %s: %s", name, yaml.FormatError(err, false, true)), "it needs a list `members:`; known keys are members, key_file, password_file, password_command, limits (upload, download)")
	}
	if len(p.file.Members) == 0 {
		return nil, fmt.Errorf("archive file %s names no members", name)
	}
	dir := filepath.Dir(name)
	for _, m := range p.file.Members {
		p.members = append(p.members, memberRelativeTo(dir, m))
	}
	p.file.KeyFile = relativeTo(dir, p.file.KeyFile)
	p.file.PasswordFile = relativeTo(dir, p.file.PasswordFile)
	return p, nil
}

// memberRelativeTo makes the paths in an address relative to a directory: the member itself, or the files that its options name.
func memberRelativeTo(dir, member string) string {
	u, err := remote.ParseURL(member)
	if err != nil || u.Scheme == "file" {
		return relativeTo(dir, member)
	}
	changed := false
	for _, option := range []string{"ca", "credentials"} {
		if file := u.Query.Get(option); file != "" && !filepath.IsAbs(file) {
			u.Query.Set(option, filepath.Join(dir, file))
			changed = true
		}
	}
	if !changed {
		return member
	}
	return u.String()
}

func relativeTo(dir, path string) string {
	if path == "" || filepath.IsAbs(path) || strings.Contains(path, "://") {
		return path
	}
	return filepath.Join(dir, path)
}

// defaultKeyFile is where the key of the default archive is kept.
func (e *env) defaultKeyFile() (string, error) {
	dir, err := e.configDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "key"), nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
