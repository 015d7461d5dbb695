package ocfl

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"cairn/agent/format"
)

// inventory is what an object says of itself. Fixity blocks are not read: the digests of the manifest cover the same files.
type inventory struct {
	ID        string              `json:"id"`
	Algorithm string              `json:"digestAlgorithm"`
	Head      string              `json:"head"`
	Content   string              `json:"contentDirectory"`
	Manifest  map[string][]string `json:"manifest"`
	Versions  map[string]version  `json:"versions"`
}

type version struct {
	State map[string][]string `json:"state"`
}

// newHash makes the hash of an inventory that parseInventory let pass.
func newHash(algorithm string) hash.Hash {
	if algorithm == "sha256" {
		return sha256.New()
	}
	return sha512.New()
}

// parseInventory reads an inventory and checks that it can be worked with: an algorithm that is known, versions from 1 to the head, digests
// that are digests.
func parseInventory(data []byte) (*inventory, error) {
	var inv inventory
	if err := json.Unmarshal(trimBOM(data), &inv); err != nil {
		return nil, errors.New("not JSON: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if inv.ID == "" {
		return nil, errors.New("it has no id")
	}
	if inv.Algorithm != "sha512" && inv.Algorithm != "sha256" {
		return nil, fmt.Errorf("digest algorithm %q is neither sha512 nor sha256", format.Clip(inv.Algorithm))
	}
	if content := inv.content(); !fs.ValidPath(content) || content == "." || strings.Contains(content, "/") {
		return nil, fmt.Errorf("content directory %q", format.Clip(content))
	}
	if len(inv.Versions) == 0 {
		return nil, errors.New("it has no versions")
	}
	width := 0
	if strings.HasPrefix(inv.Head, "v0") {
		width = len(inv.Head) - 1 // all numbers have the same length
	}
	if width > 9 {
		return nil, fmt.Errorf("head %q", format.Clip(inv.Head))
	}
	for n := range len(inv.Versions) {
		name := fmt.Sprintf("v%0*d", width, n+1)
		if _, there := inv.Versions[name]; !there {
			return nil, fmt.Errorf("version %s is missing among its %d versions", name, len(inv.Versions))
		}
		if n+1 == len(inv.Versions) && name != inv.Head {
			return nil, fmt.Errorf("head is %q, the last version is %s", format.Clip(inv.Head), name)
		}
	}
	for digest := range inv.Manifest {
		if _, err := hex.DecodeString(digest); err != nil || len(digest) != 2*newHash(inv.Algorithm).Size() {
			return nil, fmt.Errorf("the manifest has %q, which is no %s", format.Clip(digest), inv.Algorithm)
		}
	}
	return &inv, nil
}

// content is the name of the directory with the files of a version.
func (v *inventory) content() string {
	if v.Content == "" {
		return "content"
	}
	return v.Content
}

// inside says whether a name of the manifest stays below the contents of a version.
func (v *inventory) inside(file string) bool {
	if !fs.ValidPath(file) {
		return false
	}
	parts := strings.SplitN(file, "/", 3)
	if len(parts) != 3 || parts[1] != v.content() || path.Clean(file) != file {
		return false
	}
	_, known := v.Versions[parts[0]]
	return known
}

// unknownStates tells which states of versions name digests without a file.
func (v *inventory) unknownStates() []string {
	known := make(map[string]bool, len(v.Manifest))
	for digest := range v.Manifest {
		known[strings.ToLower(digest)] = true
	}
	var list []string
	for name, version := range v.Versions {
		for digest, files := range version.State {
			if !known[strings.ToLower(digest)] {
				list = append(list, fmt.Sprintf("%s has %s with digest %s, which the manifest does not have", name, strconv.Quote(format.Clip(strings.Join(files, ", "))), format.Clip(digest)))
			}
			for _, file := range files {
				if !fs.ValidPath(file) || file == "." {
					list = append(list, fmt.Sprintf("%s has the path %q, which leads out of the object", name, format.Clip(file)))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}
