package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"cairn/chunk"
	"cairn/snapshot"
)

// The stat cache has for each directory one record in one or more parts, and for each file with a content list the
// ids of its chunks. Nothing in it outlives a new version: what cannot be decoded is read from the file system again.
//
//	part    = magic "CMEM" ‖ version u8 ‖ stamp u64 ‖ number uvarint ‖ last u8 ‖ body ‖ CRC-32C of all before
//	body    = [only in part 0: whole u8 ‖ depth u8 ‖ ids] ‖ owner names ‖ entries
//	ids     = count uvarint ‖ 32 bytes each
//
// The stamp is the same in all parts of a record, so that parts of two backups are never joined.
const (
	recordMagic   = "CMEM"
	recordVersion = 1
	// maxRecord is what a part is cut at: Badger's values must stay below its 1 MiB log files. One entry more may
	// follow: 64 KiB of attributes, 16,384 holes and 1024 ids are less than 0.5 MiB.
	maxRecord = 256 << 10
	maxParts  = 1 << 16
	idsInPart = maxRecord / 32
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errRecord  = errors.New("damaged record of the stat cache")
)

// recordKey names a part. Longer paths than a database takes as a key are hashed; the first byte keeps the kinds
// apart, and a path holds no NUL, so keys never meet.
func recordKey(kind byte, path string, part int) []byte {
	const longest = 1024
	key := append(make([]byte, 0, len(path)+7), kind)
	if len(path) <= longest {
		key = append(key, '=')
		key = append(key, path...)
	} else {
		sum := sha256.Sum256([]byte(path))
		key = append(append(key, '#'), sum[:]...)
	}
	key = append(key, 0)
	return binary.BigEndian.AppendUint32(key, uint32(part))
}

const (
	kindDir    = 'd'
	kindChunks = 'c'
)

// loadMemory returns nil without a usable record. The error is the cache's own.
func loadMemory(c Cache, path string) (*memory, error) {
	m := new(memory)
	var stamp uint64
	for part := range maxParts {
		value, ok, err := c.Get(recordKey(kindDir, path, part))
		if err != nil || !ok {
			return nil, err
		}
		got, last, err := decodePart(value, part, m)
		if err != nil || part > 0 && got != stamp {
			return nil, nil
		}
		if stamp = got; last {
			m.cached = true
			return m, nil
		}
	}
	return nil, nil
}

// storeMemory writes the record of a directory: what m says of its tree, and the entries that next yields in order,
// nil at the end.
func storeMemory(c Cache, path string, stamp uint64, m *memory, next func() (n *snapshot.Node, trusted bool)) error {
	e := encoder{names: map[string]int{}}
	n, trusted := next()
	for part := range maxParts {
		e.begin(stamp, part)
		if part == 0 {
			e.flag(m.whole)
			e.buf = append(e.buf, m.depth)
			e.ids(m.content)
		}
		for n != nil && len(e.buf)+len(e.entries) < maxRecord {
			e.entry(n, trusted)
			n, trusted = next()
		}
		if err := c.Put(recordKey(kindDir, path, part), e.end(n == nil)); err != nil {
			return fmt.Errorf("write the stat cache: %w", err)
		}
		if n == nil {
			break
		}
	}
	return nil
}

// loadChunks returns the ids of a file's chunks, or nil.
func loadChunks(c Cache, path string) ([]chunk.ID, error) {
	var ids []chunk.ID
	var stamp uint64
	for part := range maxParts {
		value, ok, err := c.Get(recordKey(kindChunks, path, part))
		if err != nil || !ok {
			return nil, err
		}
		d, got, last, err := openPart(value, part)
		if err != nil || part > 0 && got != stamp {
			return nil, nil
		}
		ids = append(ids, d.ids()...)
		if d.bad || len(d.data) > 0 {
			return nil, nil
		}
		if stamp = got; last {
			return ids, nil
		}
	}
	return nil, nil
}

func storeChunks(c Cache, path string, stamp uint64, ids []chunk.ID) error {
	var e encoder
	for part := 0; ; part++ {
		n := min(len(ids), idsInPart)
		e.begin(stamp, part)
		e.ids(ids[:n])
		ids = ids[n:]
		if err := c.Put(recordKey(kindChunks, path, part), e.end(len(ids) == 0)); err != nil {
			return fmt.Errorf("write the stat cache: %w", err)
		}
		if len(ids) == 0 || part == maxParts {
			return nil
		}
	}
}

// openPart checks the frame of a part.
func openPart(b []byte, part int) (d decoder, stamp uint64, last bool, err error) {
	const frame = len(recordMagic) + 1 + 8
	if len(b) < frame+4 || string(b[:len(recordMagic)]) != recordMagic || b[len(recordMagic)] != recordVersion {
		return d, 0, false, errRecord
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return d, 0, false, errRecord
	}
	stamp = binary.LittleEndian.Uint64(b[frame-8:])
	d.data = body[frame:]
	number := d.uint()
	last = d.flag()
	if d.bad || number != uint64(part) {
		return d, 0, false, errRecord
	}
	return d, stamp, last, nil
}

// decodePart appends the entries of a part to m.
func decodePart(b []byte, part int, m *memory) (stamp uint64, last bool, err error) {
	d, stamp, last, err := openPart(b, part)
	if err != nil {
		return 0, false, err
	}
	if part == 0 {
		m.whole = d.flag()
		if m.depth = d.byte(); m.depth > snapshot.MaxDepth {
			return 0, false, errRecord
		}
		m.content = d.ids()
	}
	d.names = make([]string, d.count(1))
	for i := range d.names {
		d.names[i] = d.string()
	}
	entries := make([]known, d.count(minEntry))
	name := m.lastName()
	for i := range entries {
		k := &entries[i]
		k.trusted = d.entry(&k.node)
		if d.bad || k.node.Name <= name || k.node.Validate() != nil {
			return 0, false, errRecord
		}
		name = k.node.Name
	}
	if d.bad || len(d.data) > 0 {
		return 0, false, errRecord
	}
	m.add(entries)
	return stamp, last, nil
}

// lastName returns the largest name so far.
func (m *memory) lastName() string {
	if len(m.parts) == 0 {
		return ""
	}
	part := m.parts[len(m.parts)-1]
	return part[len(part)-1].node.Name
}
