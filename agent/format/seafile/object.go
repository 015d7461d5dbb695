package seafile

import (
	"bytes"
	"cairn/agent/format"
	"compress/zlib"
	"crypto/sha1" // the format's own; not for security
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// emptyID stands for an empty directory or file: there is no such object.
const emptyID = "0000000000000000000000000000000000000000"

// object is a directory (3) or a file (1) of a library.
type object struct {
	Type    int      `json:"type"`
	Entries []entry  `json:"dirents"`
	Blocks  []string `json:"block_ids"`
	Size    int64    `json:"size"`
}

type entry struct {
	Mode uint32 `json:"mode"`
	ID   string `json:"id"`
	Name string `json:"name"`
}

// isDir: the mode is that of Unix.
func (e entry) isDir() bool { return e.Mode&0o170000 == 0o040000 }

// parseObject inflates an fs object and returns it with the SHA-1 of its JSON.
func parseObject(data []byte) (object, string, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return object{}, "", fmt.Errorf("not to be inflated: %w", err)
	}
	text, err := format.ReadLimited(z, format.MaxObject)
	if err != nil {
		return object{}, "", fmt.Errorf("not to be inflated: %w", err)
	}
	sum := sha1.Sum(text)
	var o object
	if err := json.Unmarshal(text, &o); err != nil {
		return object{}, "", notJSON(err)
	}
	for _, e := range o.Entries {
		if !format.IsHex(e.ID, 40) {
			return object{}, "", badID("object", e.ID)
		}
	}
	for _, b := range o.Blocks {
		if !format.IsHex(b, 40) {
			return object{}, "", badID("block", b)
		}
	}
	if o.Type != 1 && o.Type != 3 && (o.Type != 0 || o.Entries == nil && o.Blocks == nil) { // some writers leave the type out
		return object{}, "", fmt.Errorf("type %d is neither file (1) nor directory (3)", o.Type)
	}
	return o, hex.EncodeToString(sum[:]), nil
}

func notJSON(err error) error {
	return errors.New("not JSON: " + strings.TrimPrefix(err.Error(), "json: "))
}

func badID(what, id string) error { return fmt.Errorf("it names %s %q", what, format.Clip(id)) }
