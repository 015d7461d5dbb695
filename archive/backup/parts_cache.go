package backup

import (
	"crypto/sha256"
	"path"
	"strings"
)

// ways gives each part records of its own for the directories that lead to it. Several parts have them in common, and a record has only
// what leads to one: the next part would not find what it looks for there, and would not ask the parent snapshot.
type ways struct {
	Cache
	keys map[string]string // of such a directory, without the number of the record → the part's own
}

// kindWays is followed by a hash of what the part is about.
const kindWays = 'w'

// ofPart returns the cache for a part.
func ofPart(c Cache, names []string) Cache {
	if c == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(strings.Join(names, "\x00")))
	w := &ways{c, map[string]string{}}
	for _, p := range names {
		for p != "/" {
			p = path.Dir(p)
			key := withoutNumber(recordKey(kindDir, p, 0))
			w.keys[string(key)] = string(kindWays) + string(sum[:16]) + string(key[1:])
		}
	}
	return w
}

// withoutNumber cuts the number of the record's part off a key.
func withoutNumber(key []byte) []byte { return key[:max(len(key)-4, 0)] }

func (w *ways) key(key []byte) []byte {
	own, ok := w.keys[string(withoutNumber(key))]
	if !ok {
		return key
	}
	return append([]byte(own), key[len(key)-4:]...)
}

func (w *ways) Get(key []byte) ([]byte, bool, error) { return w.Cache.Get(w.key(key)) }

func (w *ways) Put(key, value []byte) error { return w.Cache.Put(w.key(key), value) }
