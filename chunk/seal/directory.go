package seal

import (
	"bytes"
	"fmt"

	"cairn/chunk"
)

// maxColumns is the largest number of columns of a pack (docs/format.md §10).
const maxColumns = 32

// SealDirectory seals the directory of one column of a pack (docs/format.md §6). Writer keys can open it.
func (k *Keys) SealDirectory(s SessionID, kind chunk.Type, column int, plain []byte) ([]byte, error) {
	key, aad, err := k.directory(s, kind, column)
	if err != nil {
		return nil, fmt.Errorf("seal %w", err)
	}
	sealed, err := sealBytes(&key, plain, aad)
	if err != nil {
		return nil, fmt.Errorf("seal directory: %w", err)
	}
	again, err := k.OpenDirectory(s, kind, column, sealed)
	if err != nil || !bytes.Equal(again, plain) {
		return nil, fmt.Errorf("seal directory of column %d: check: %w", column, ErrNotAuthentic)
	}
	return sealed, nil
}

// OpenDirectory opens what SealDirectory sealed for the same session, kind and column. The error wraps ErrNotAuthentic if it
// does not open.
func (k *Keys) OpenDirectory(s SessionID, kind chunk.Type, column int, sealed []byte) ([]byte, error) {
	key, aad, err := k.directory(s, kind, column)
	if err != nil {
		return nil, fmt.Errorf("open %w", err)
	}
	plain, err := openBytes(&key, sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("open directory of column %d: %w", column, err)
	}
	return plain, nil
}

func (k *Keys) directory(s SessionID, kind chunk.Type, column int) (key [32]byte, aad []byte, err error) {
	if !kind.Valid() || column < 0 || column >= maxColumns {
		return key, nil, fmt.Errorf("directory: no column %d of a pack of %s", column, kind)
	}
	aad = append(aad, "CAIRNDIR"...)
	aad = append(aad, formatVersion, 0)
	aad = append(aad, k.archive[:]...)
	aad = append(aad, s[:]...)
	aad = append(aad, byte(kind), byte(column))
	return mac(k.index[:], []byte("directory"), s[:]), aad, nil
}
