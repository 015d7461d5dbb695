package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/index"
	"cairn/pack"
)

// What is measured once, because it takes a fixed amount of work.

const (
	indexBlobs     = 1 << 16 // as many as a segment names
	blobsPerColumn = 32
)

// measureIndex fills an index and asks it. All processes use one core for that, and some of a second for Badger's own work.
func measureIndex(ctx context.Context, o Options, r *Report) (err error) {
	o.Now("index")
	dir, err := os.MkdirTemp(o.TempDir, "cairn-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // it holds nothing
	x, err := index.Open(filepath.Join(dir, "index"), index.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	segment, ids := segmentOf(o.blobs)
	start := time.Now()
	if err := x.Apply(pack.ID{1}, segment); err != nil {
		return err
	}
	added := time.Since(start)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	out := make([]pack.ID, len(ids))
	start = time.Now()
	if err := x.Live(chunk.Data, ids, out); err != nil {
		return err
	}
	asked := time.Since(start)
	r.add(o, &Stage{Name: Add, What: "index: add", Unit: "blobs", One: float64(o.blobs) / added.Seconds()})
	r.add(o, &Stage{Name: LookUp, What: "index: look up", Unit: "blobs", One: float64(o.blobs) / asked.Seconds()})
	return ctx.Err()
}

// segmentOf makes a segment of blobs that nobody has.
func segmentOf(blobs int) (cols []pack.Column, ids []chunk.ID) {
	rng := rand.NewChaCha8([32]byte{2})
	for first := 0; first < blobs; first += blobsPerColumn {
		c := pack.Column{Kind: chunk.Data, Geometry: pack.Geometry{K: 1}, L: 16 << 20}
		binary.BigEndian.PutUint64(c.Pack[:], uint64(first+1))
		c.Session.ID = seal.SessionID{1}
		for i := range uint32(blobsPerColumn) {
			var id chunk.ID
			rng.Read(id[:]) // never fails
			ids = append(ids, id)
			c.Entries = append(c.Entries, pack.Entry{ID: id, Offset: i * 1000, Stored: 1000, Plain: 2000, Compression: seal.Zstd})
		}
		cols = append(cols, c)
	}
	return cols, ids
}

// measureStretch opens a slot as it would be made here and now.
func measureStretch(ctx context.Context, o Options, k *seal.Keys, r *Report) error {
	o.Now("password")
	password := []byte("a password")
	s, err := seal.NewPasswordSlot(k, "bench", password, seal.TunedArgon(), time.Now())
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	start := time.Now()
	if _, err := s.Open(seal.Credential{Password: password}); err != nil {
		return err
	}
	r.add(o, &Stage{Name: Stretch, What: "open with a password (Argon2id)", Unit: "times", One: 1 / time.Since(start).Seconds()})
	return ctx.Err()
}
