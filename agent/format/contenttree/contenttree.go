// Package contenttree knows Fedora's store of binary values: files named by the SHA-1 of their content, in three levels of directories.
package contenttree

import (
	"cairn/agent/format"
	"crypto/sha1" // the format's own; not for security
	"encoding/hex"
	"io/fs"
	"path"
)

var (
	kindWrongPlace   = format.Damage("wrong-place", "the store does not find it where its name leads: the value is lost to the repository")
	kindContent      = format.Damage("digest", "the content is not what was stored: a restore brings it back damaged under the right name")
	kindStrayContent = format.Doubt("stray", "the store does not look at it; left there by hand, or by something that broke off")
)

// Tags of a file whose content does not have the hash that its name says.
const (
	suspect = iota
	side    // an extracted text or a MIME type: its name is a hash of another name
)

// sideSuffixes make the names of side files: SHA-1 of the value's name and one of these.
func sideSuffixes() []string { return []string{"-extracted-text", "-mime-type"} }

// tree is one verification.
type tree struct{ *format.Run }

// Look reads a FileSystemBinaryStore: ab/cd/ef/<sha1>, and the same below trash. Three passes: contents are hashed; names that do not
// fit their content are held against what side files of all names would be called; those that remain are told. The second and third
// read directories only, and there is none of them when every name fits.
func Look(run *format.Run) error {
	r := &tree{run}
	odd := format.NewSet(r.Options.Memory)
	err := r.Parallel(func(do func(func())) {
		for name, digest := range r.contents(true) {
			do(func() { r.content(name, digest, odd) })
		}
	})
	if err != nil || odd.Len() == 0 {
		return err
	}
	for _, digest := range r.contents(false) {
		for _, suffix := range sideSuffixes() {
			sum := sha1.Sum([]byte(digest + suffix))
			odd.Mark(format.NameKey(hex.EncodeToString(sum[:])), func(uint32) uint32 { return side })
		}
	}
	for name, digest := range r.contents(false) {
		if tag, there := odd.Get(format.NameKey(digest)); there && tag == side {
			r.Count("side_files", 1)
		} else if there {
			r.Found(kindContent, name, "its content has another SHA-1, and it is no extracted text or MIME type of a value that is here")
		}
	}
	r.Incomplete(odd, "damaged contents were not all told apart from side files")
	return r.Err()
}

func (r *tree) content(name, digest string, odd *format.Set) {
	got, _, err := r.Digest(name, sha1.New())
	if err != nil {
		r.Unreadable(name, err)
		return
	}
	if got != digest {
		odd.Add(format.NameKey(digest), suspect)
	} else {
		r.Count("values", 1)
	}
}

// contents yields the files and the hashes that their names are. The first time what is in the wrong place is noted.
func (r *tree) contents(first bool) func(yield func(name, digest string) bool) {
	note := func(k format.Kind, name, format string, args ...any) {
		if first {
			r.Found(k, name, format, args...)
		}
	}
	return func(yield func(string, string) bool) {
		trash := path.Join(r.Root, "trash")
		for _, top := range []string{r.Root, trash} {
			if top == trash && !r.IsDir(top) {
				return
			}
			stray := func(name string, d fs.DirEntry) {
				if name != trash {
					note(kindStrayContent, name, "%s where only directories of two hexadecimal digits belong", format.Article(d))
				}
			}
			for dir := range r.HashDirs(top, 3, stray) {
				for _, d := range r.List(dir) {
					name := path.Join(dir, d.Name())
					if !d.Type().IsRegular() || !format.IsHex(d.Name(), 40) {
						note(kindStrayContent, name, "%s that is not named by a SHA-1", format.Article(d))
						continue
					}
					if first {
						r.Place(kindWrongPlace, top, name, d.Name())
					}
					if first && top == trash {
						r.Count("trash", 1)
					}
					if !yield(name, d.Name()) {
						return
					}
				}
			}
		}
	}
}
