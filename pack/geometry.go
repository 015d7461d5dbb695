package pack

import (
	"fmt"

	"cairn/chunk/seal"
)

// Limits and sizes of the stored format (docs/format.md §5 and §10). Wire format, do not change.
const (
	// MaxShards is the largest k + m.
	MaxShards = 32
	// MaxColumn is the largest L.
	MaxColumn = 32 << 20
	// Align divides every L.
	Align = 4096
	// HeaderSize is the size of a shard's header and of its copy at the end.
	HeaderSize = 4096
	// BlockSize is how many bytes of payload one checksum covers.
	BlockSize = 1 << blockShift
	// MaxEntries is the largest number of blobs in one column.
	MaxEntries = 1 << 18
	// MaxSessions is the largest number of foreign sessions in one column.
	MaxSessions = 255

	blockShift = 17
	// sealing is what AES-GCM adds to a blob or a directory: nonce and tag.
	sealing = seal.Overhead
)

// Geometry says how a pack is spread: k data columns and m parity columns, under a layout's epoch.
type Geometry struct {
	K, M  int
	Epoch uint16
}

// N returns the number of shards.
func (g Geometry) N() int { return g.K + g.M }

// Validate refuses what the format cannot hold.
func (g Geometry) Validate() error {
	if g.K < 1 || g.M < 0 || g.K > MaxShards || g.M > MaxShards || g.N() > MaxShards {
		return fmt.Errorf("geometry %d+%d: want at least 1 data column and at most %d columns", g.K, g.M, MaxShards)
	}
	return nil
}

// DefaultTarget returns the column length aimed at when the caller names none: 32 MiB / k, at least 4 and at most
// 16 MiB. Smaller shards would cost a store more in requests than in bytes, larger ones a backup memory.
func (g Geometry) DefaultTarget() int {
	const most, least = 16 << 20, 4 << 20
	return min(most, max(least, (32<<20)/max(1, g.K)))
}

// Blocks returns the number of checksums of a column of length L.
func Blocks(L int64) int64 { return (L + BlockSize - 1) >> blockShift }

// ShardSize returns the size of the object that holds a column of length L.
func ShardSize(L int64) int64 { return HeaderSize + L + 4*Blocks(L) + HeaderSize }

// TailSize returns how many bytes at the end of a shard hold directory, checksums and header copy.
func TailSize(L int64, dirLen uint32) int64 { return int64(dirLen) + 4*Blocks(L) + HeaderSize }

// roundUp returns n rounded up to a multiple of Align.
func roundUp(n int) int { return (n + Align - 1) &^ (Align - 1) }
