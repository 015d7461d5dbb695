// Package ocfl knows the Oxford Common File Layout, the store of Fedora 6: a root with objects, each of which has an inventory with the digest
// of every file that it holds.
package ocfl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"cairn/agent/format"
)

var (
	kindDeclaration = format.Damage("declaration", "Fedora does not take it for an object or a storage root: it is left out when the database is rebuilt")
	kindInventory   = format.Damage("inventory", "the object cannot be opened: which files belong to which version is not known")
	kindSidecar     = format.Damage("inventory-digest", "the inventory is not what was stored: Fedora refuses the object")
	kindDigest      = format.Damage("digest", "the content is not what was stored: the versions that use it come back damaged")
	kindMissing     = format.Damage("missing-content", "the versions that use it cannot be restored")
	kindExtra       = format.Damage("extra-content", "no version has it: the object is not valid, and the file was put there by something else")
	kindState       = format.Damage("state", "the version names content that no file has: it cannot be restored")
	kindVersion     = format.Damage("version", "a version of the object is lost, or none of the history fits together")
	kindEscape      = format.Damage("path-escape", "who follows it reads or writes outside the object: it was not opened")
	kindPlace       = format.Damage("wrong-place", "the object is not found by its id")
	kindDuplicate   = format.Damage("duplicate-id", "which of the two objects is taken is not defined")
	kindStray       = format.Doubt("stray", "it belongs to no object and is not restored with any")
	kindNoCopy      = format.Doubt("no-version-inventory", "the version has no inventory of its own: allowed, but nothing is left when the other one is damaged")
)

const (
	rootMark   = "0=ocfl_1."
	objectMark = "0=ocfl_object_"
)

// root is one verification.
type root struct {
	*format.Run
	ids    *format.Set
	layout layout
}

// Look reads a storage root with all its objects, or one object.
func Look(r *format.Run) error {
	o := &root{Run: r, ids: format.NewSet(r.Options.Memory)}
	entries := r.List(r.Root)
	if declared(entries, objectMark) != "" {
		return r.Parallel(func(do func(func())) { do(func() { o.object(r.Root, entries) }) })
	}
	switch mark := declared(entries, rootMark); mark {
	case "":
		r.Found(kindDeclaration, r.Root, "there is no file 0=ocfl_1.0 or 0=ocfl_1.1: this is no storage root")
	default:
		o.declaration(path.Join(r.Root, mark), strings.TrimPrefix(mark, "0="))
	}
	o.layout = o.readLayout()
	err := r.Parallel(func(do func(func())) {
		for _, d := range entries {
			name := path.Join(r.Root, d.Name())
			switch {
			case d.IsDir() && d.Name() != "extensions":
				o.below(name, do)
			case !d.IsDir():
				r.Regular(r.Root, d) // the root may have texts that describe it
			}
		}
	})
	r.Incomplete(o.ids, "objects with the same id were not all looked for")
	return err
}

// declared returns the name of the file that says what a directory is.
func declared(entries []fs.DirEntry, mark string) string {
	for _, d := range entries {
		if strings.HasPrefix(d.Name(), mark) && !d.IsDir() {
			return d.Name()
		}
	}
	return ""
}

// declaration: the file holds its own name behind "0=".
func (o *root) declaration(name, want string) {
	data, err := o.Read(name, 4096)
	switch {
	case err != nil:
		o.Unreadable(name, err)
	case strings.TrimRight(string(data), "\r\n") != want:
		o.Found(kindDeclaration, name, "does not hold %q", want)
	}
}

// below looks for objects.
func (o *root) below(dir string, do func(func())) {
	entries := o.List(dir)
	if declared(entries, objectMark) != "" || looksLikeObject(entries) {
		do(func() { o.object(dir, entries) })
		return
	}
	for _, d := range entries {
		switch {
		case d.IsDir():
			o.below(path.Join(dir, d.Name()), do)
		case o.Regular(dir, d):
			o.Found(kindStray, path.Join(dir, d.Name()), "a file outside of all objects")
		}
	}
}

// looksLikeObject: an object that has lost its declaration must not become a directory full of strays.
func looksLikeObject(entries []fs.DirEntry) bool {
	return slices.ContainsFunc(entries, func(d fs.DirEntry) bool { return d.Name() == "inventory.json" && !d.IsDir() })
}

// layout says where an object belongs. Only the hashed n-tuple layout, which Fedora uses, is known; for all others the zero value says nothing.
type layout struct {
	known        bool
	size, tuples int
}

const hashedTuples = "0004-hashed-n-tuple-storage-layout"

func (o *root) readLayout() layout {
	var named struct {
		Extension string `json:"extension"`
	}
	data, err := o.Read(path.Join(o.Root, "ocfl_layout.json"), 1<<20)
	if err != nil || json.Unmarshal(data, &named) != nil || named.Extension != hashedTuples {
		return layout{}
	}
	config := struct {
		Algorithm string `json:"digestAlgorithm"`
		Size      int    `json:"tupleSize"`
		Tuples    int    `json:"numberOfTuples"`
		Short     bool   `json:"shortObjectRoot"`
	}{"sha256", 3, 3, false}
	data, err = o.Read(path.Join(o.Root, "extensions", hashedTuples, "config.json"), 1<<20)
	if err == nil && json.Unmarshal(data, &config) != nil {
		return layout{}
	}
	if config.Algorithm != "sha256" || config.Short || config.Size < 0 || config.Tuples < 0 || config.Size > 64 || config.Tuples > 64 || config.Size*config.Tuples > 64 {
		return layout{}
	}
	return layout{true, config.Size, config.Tuples}
}

// path is where the object of an id belongs, below the root.
func (l layout) path(id string) string {
	sum := sha256.Sum256([]byte(id))
	digest := hex.EncodeToString(sum[:])
	var parts []string
	for i := range l.tuples {
		parts = append(parts, digest[i*l.size:(i+1)*l.size])
	}
	return path.Join(append(parts, digest)...)
}

var versionName = regexp.MustCompile(`^v[0-9]+$`)

// object verifies one object.
func (o *root) object(dir string, entries []fs.DirEntry) {
	o.Count("objects", 1)
	if mark := declared(entries, objectMark); mark == "" {
		o.Found(kindDeclaration, path.Join(dir, objectMark+"1.0"), "is missing")
	} else {
		o.declaration(path.Join(dir, mark), strings.TrimPrefix(mark, "0="))
	}
	name := path.Join(dir, "inventory.json")
	data, err := o.Read(name, format.MaxObject)
	if err != nil {
		o.Found(kindInventory, name, "%v", format.Cause(err))
		return
	}
	inv, err := parseInventory(data)
	if err != nil {
		o.Found(kindInventory, name, "%v", err)
		return
	}
	digest := o.sidecar(name, data, inv.Algorithm)
	if _, there := o.ids.Add(format.NameKey(inv.ID), 0); there {
		o.Found(kindDuplicate, name, "the id %q is that of another object, too", format.Clip(inv.ID))
	}
	if want := o.layout.path(inv.ID); o.layout.known && dir != o.Root && dir != path.Join(o.Root, want) {
		o.Found(kindPlace, dir, "the object %q belongs into %s", format.Clip(inv.ID), want)
	}
	o.Item(format.Item{Kind: "object", ID: inv.ID, Path: dir, Facts: map[string]any{"head": inv.Head, "versions": len(inv.Versions), "files": len(inv.Manifest)}})
	if o.Options.Shallow {
		return
	}
	o.versions(dir, entries, inv, digest)
	o.contents(dir, inv)
}

// sidecar compares an inventory with the digest beside it, and returns the digest as it is.
func (o *root) sidecar(name string, data []byte, algorithm string) string {
	h := newHash(algorithm)
	h.Write(data)
	digest := hex.EncodeToString(h.Sum(nil))
	side := name + "." + algorithm
	text, err := o.Read(side, 4096)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o.Found(kindSidecar, side, "is missing")
	case err != nil:
		o.Unreadable(side, err)
	default:
		fields := strings.Fields(string(text))
		if len(fields) != 2 || fields[1] != "inventory.json" {
			o.Found(kindSidecar, side, "is not a digest and the name inventory.json")
		} else if !strings.EqualFold(fields[0], digest) {
			o.Found(kindSidecar, name, "its %s is %s…, %s says %s", algorithm, digest[:16], path.Base(side), format.Clip(fields[0]))
		}
	}
	return digest
}

// versions verifies that each version is there, with an inventory that fits.
func (o *root) versions(dir string, entries []fs.DirEntry, inv *inventory, digest string) {
	there := map[string]bool{}
	for _, d := range entries {
		switch {
		case d.IsDir() && versionName.MatchString(d.Name()):
			there[d.Name()] = true
			if _, known := inv.Versions[d.Name()]; !known {
				o.Found(kindExtra, path.Join(dir, d.Name()), "the inventory does not know this version")
			}
		case d.IsDir() && (d.Name() == "extensions" || d.Name() == "logs"):
		case d.IsDir():
			o.Found(kindStray, path.Join(dir, d.Name()), "a directory that belongs to no version")
		case o.Regular(dir, d) && !strings.HasPrefix(d.Name(), objectMark) && d.Name() != "inventory.json" && d.Name() != "inventory.json."+inv.Algorithm:
			o.Found(kindStray, path.Join(dir, d.Name()), "a file that belongs to no version")
		}
	}
	for version := range inv.Versions {
		name := path.Join(dir, version, "inventory.json")
		if !there[version] {
			o.Found(kindVersion, path.Join(dir, version), "is missing")
			continue
		}
		data, err := o.Read(name, format.MaxObject)
		if err != nil {
			o.Found(kindNoCopy, name, "%v", format.Cause(err))
			continue
		}
		old, err := parseInventory(data)
		if err != nil {
			o.Found(kindInventory, name, "%v", err)
			continue
		}
		mine := o.sidecar(name, data, old.Algorithm)
		switch {
		case old.ID != inv.ID || old.Head != version:
			o.Found(kindVersion, name, "is the inventory of %s of %q", old.Head, format.Clip(old.ID))
		case version == inv.Head && old.Algorithm == inv.Algorithm && mine != digest:
			o.Found(kindVersion, name, "is the last version's and differs from the inventory of the object")
		}
	}
}

// contents compares the files with the manifest.
func (o *root) contents(dir string, inv *inventory) {
	known := make(map[string]bool, len(inv.Manifest))
	for digest, names := range inv.Manifest {
		for _, file := range names {
			name := path.Join(dir, file)
			if !inv.inside(file) {
				o.Found(kindEscape, path.Join(dir, "inventory.json"), "the manifest names %q", format.Clip(file))
				continue
			}
			known[name] = true
			got, _, err := o.Digest(name, newHash(inv.Algorithm))
			switch {
			case errors.Is(err, fs.ErrNotExist):
				o.Found(kindMissing, name, "is missing")
			case err != nil:
				o.Unreadable(name, err)
			case !strings.EqualFold(got, digest):
				o.Found(kindDigest, name, "its %s is %s…, the manifest has %s", inv.Algorithm, got[:16], format.Clip(digest))
			}
			o.Count("contents", 1)
		}
	}
	for version := range inv.Versions {
		if top := path.Join(dir, version, inv.content()); o.IsDir(top) {
			o.Walk(top, func(name string) {
				if !known[name] {
					o.Found(kindExtra, name, "is not in the manifest")
				}
			})
		}
	}
	for _, p := range inv.unknownStates() {
		o.Found(kindState, path.Join(dir, "inventory.json"), "%s", p)
	}
}

func trimBOM(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) }
