package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// The stages, by name.
const (
	Cut      = "cut"
	Hash     = "hash"
	Compress = "compress"
	Encrypt  = "encrypt"
	Seal     = "seal"
	Pack     = "pack"
	Parity   = "parity"
	Open     = "open"
	Add      = "index-add"
	LookUp   = "index-lookup"
	Stretch  = "password"
)

// Stage is what the machine does of one step in a second: bytes, or of the index blobs, or of the password openings.
type Stage struct {
	Name string
	What string  // for people
	Unit string  // "bytes", "blobs" or "times"
	One  float64 // with one core
	All  float64 // with all; 0 where more than one would not be used
}

// Best is the rate that a backup has: with all cores where they are used.
func (s *Stage) Best() float64 {
	if s.All > 0 {
		return s.All
	}
	return s.One
}

// Stage returns a stage by its name, or nil.
func (r *Report) Stage(name string) *Stage {
	for _, s := range r.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// sealedPacks is how many packs an archive seals and stores at a time (archive.Writer); more cores do not help there.
const sealedPacks = 2

// leastTime is how long a step is measured at least.
const leastTime = 20 * time.Millisecond

// bench is what the steps work with.
type bench struct {
	params  chunk.Params
	keys    *seal.Keys
	session *seal.Session
	g       pack.Geometry
	text    *sample
	random  *sample
	sealed  []blob // of text
	noise   []blob // of random
}

// blob is a sealed piece.
type blob struct {
	seal.Sealed
	bytes []byte
}

// kind is one measurement: what its name is, at most how many cores it can use (0: all), and a worker.
type kind struct {
	name, what string
	most       int
	worker     func() (step, error)
}

func measureMachine(ctx context.Context, o Options, total time.Duration, r *Report) error {
	end := time.Now().Add(total * 4 / 5) // the rest is for what is measured once
	o.Now("sample")
	b, err := newBench(o)
	if err != nil {
		return err
	}
	r.Ratio = b.ratio()
	kinds := b.kinds()
	var used, could time.Duration
	measure := func(n int, d time.Duration, k kind) (float64, error) {
		begin, before := time.Now(), processorTime()
		got, err := rate(ctx, n, d, k.worker)
		used += processorTime() - before
		could += time.Duration(n) * time.Since(begin)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", k.what, err)
		}
		return got, nil
	}
	for i, k := range kinds {
		each := max(leastTime, time.Until(end)/time.Duration(2*(len(kinds)-i))) // on a busy machine the first ones may have taken longer
		o.Now(k.what)
		s := &Stage{Name: k.name, What: k.what, Unit: "bytes"}
		if s.One, err = measure(1, each, k); err != nil {
			return err
		}
		n := o.Cores
		if k.most > 0 {
			n = min(n, k.most)
		}
		s.All = s.One
		if n > 1 {
			if s.All, err = measure(n, each, k); err != nil {
				return err
			}
		}
		r.add(o, s)
	}
	r.Share = min(1, used.Seconds()/max(could.Seconds(), 1e-9))
	if err := measureIndex(ctx, o, r); err != nil {
		return err
	}
	return measureStretch(ctx, o, b.keys, r)
}

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *Report) add(o Options, s *Stage) {
	r.Stages = append(r.Stages, s)
	o.Each(s)
}

func newBench(o Options) (*bench, error) {
	keys, err := seal.NewRoot(seal.NewArchiveID())
	if err != nil {
		return nil, err
	}
	b := &bench{params: chunk.DefaultParams(), keys: keys, g: o.Geometry}
	b.params.Poly = keys.Poly()
	if b.session, err = keys.NewSession(); err != nil {
		return nil, err
	}
	data := text(o.sample)
	if o.Sample != nil {
		if data, err = readSample(o.Sample, o.sample); err != nil {
			return nil, fmt.Errorf("sample: %w", err)
		}
	}
	if b.text, err = newSample(data, b.params); err != nil {
		return nil, err
	}
	if b.random, err = newSample(randomData(o.sample), b.params); err != nil {
		return nil, err
	}
	if b.sealed, err = b.seal(b.text); err != nil {
		return nil, err
	}
	b.noise, err = b.seal(b.random)
	return b, err
}

func (b *bench) seal(s *sample) ([]blob, error) {
	var list []blob
	for _, p := range s.pieces {
		id := chunk.Sum(p)
		sealed, c, err := b.session.Seal(nil, chunk.Data, id, p)
		if err != nil {
			return nil, err
		}
		list = append(list, blob{seal.Sealed{ID: id, Type: chunk.Data, Compression: c, Plain: uint32(len(p)), Session: b.session.ID()}, sealed})
	}
	return list, nil
}

// ratio is how many times smaller the sample gets.
func (b *bench) ratio() float64 {
	plain, stored := 0, 0
	for _, s := range b.sealed {
		plain += int(s.Plain)
		stored += len(s.bytes)
	}
	return float64(plain) / float64(max(1, stored))
}

func (b *bench) kinds() []kind {
	kinds := []kind{
		{Cut, "cut into chunks", 0, b.cut},
		{Hash, "hash (SHA-256)", 0, b.hash},
		{Compress, "compress (zstd)", 0, b.compress},
		{Encrypt, "encrypt and verify (AES-256-GCM)", 0, func() (step, error) { return b.sealing(b.random), nil }},
		{Seal, "compress, encrypt, verify", 0, func() (step, error) { return b.sealing(b.text), nil }},
		{Pack, fmt.Sprintf("make packs, %d+%d", b.g.K, b.g.M), sealedPacks, b.pack},
	}
	if b.g.M > 0 {
		kinds = append(kinds, kind{Parity, fmt.Sprintf("of that, Reed-Solomon %d+%d", b.g.K, b.g.M), sealedPacks, b.parity})
	}
	return append(kinds, kind{Open, "restore: decrypt, decompress, hash", 0, b.open})
}

// over returns a step that takes one element after the other.
func over[T any](list []T, do func(T) (int, error)) step {
	i := 0
	return func() (int, error) {
		i++
		return do(list[i%len(list)])
	}
}

func (b *bench) cut() (step, error) {
	c, err := chunk.NewCutter(b.params)
	if err != nil {
		return nil, err
	}
	return func() (int, error) {
		c.Reset()
		rest := b.text.data
		for n := c.Next(rest); n >= 0; n = c.Next(rest) {
			rest = rest[n:]
		}
		return len(b.text.data), nil
	}, nil
}

func (b *bench) hash() (step, error) {
	return over(b.text.pieces, func(p []byte) (int, error) {
		if chunk.Sum(p) == (chunk.ID{}) {
			return 0, fmt.Errorf("a hash of nothing but zeros")
		}
		return len(p), nil
	}), nil
}

func (b *bench) compress() (step, error) {
	var dst []byte
	return over(b.text.pieces, func(p []byte) (n int, err error) {
		dst, _, err = b.session.Compress(dst[:0], p)
		return len(p), err
	}), nil
}

// sealing seals the pieces of a sample. Their hashes are not part of it.
func (b *bench) sealing(s *sample) step {
	type piece struct {
		id    chunk.ID
		plain []byte
	}
	pieces := make([]piece, len(s.pieces))
	for i, p := range s.pieces {
		pieces[i] = piece{chunk.Sum(p), p}
	}
	var dst []byte
	return over(pieces, func(p piece) (n int, err error) {
		dst, _, err = b.session.Seal(dst[:0], chunk.Data, p.id, p.plain)
		return len(p.plain), err
	})
}

// pack fills and seals packs. The blobs are always the same, under other names.
func (b *bench) pack() (step, error) {
	number := uint64(0)
	next := 0
	return func() (int, error) {
		w := pack.NewWriter(b.keys, b.session, chunk.Data, b.g, 0)
		bytes := 0
		for {
			blob := b.noise[next%len(b.noise)]
			if !w.Fits(len(blob.bytes)) || bytes > 0 && w.Long() {
				break
			}
			number++
			binary.LittleEndian.PutUint64(blob.ID[:], number)
			if _, err := w.Add(blob.Sealed, blob.bytes, nil); err != nil {
				return 0, err
			}
			bytes += len(blob.bytes)
			next++
		}
		sealed, err := w.Seal()
		if err != nil {
			return 0, err
		}
		sealed.Release()
		return bytes, nil
	}, nil
}

// parity computes parity columns from data columns, which is what sealing a pack does, and repair.
func (b *bench) parity() (step, error) {
	size := len(b.random.data) / b.g.K
	columns := make([][]byte, b.g.N())
	for i := range b.g.K {
		columns[i] = b.random.data[i*size:][:size]
	}
	var want []int
	buffers := make([][]byte, b.g.M)
	for j := range buffers {
		want = append(want, b.g.K+j)
		buffers[j] = make([]byte, 0, size)
	}
	return func() (int, error) {
		for j, buf := range buffers {
			columns[b.g.K+j] = buf
		}
		return b.g.K * size, pack.Reconstruct(b.g, columns, want)
	}, nil
}

func (b *bench) open() (step, error) {
	var dst []byte
	return over(b.sealed, func(s blob) (n int, err error) {
		dst, err = b.session.Open(dst, s.Sealed, s.bytes)
		return int(s.Plain), err
	}), nil
}
