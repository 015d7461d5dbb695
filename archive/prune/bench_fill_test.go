package prune

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/archive"
	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
	"cairn/snapshot"
)

const (
	// perUnit blobs are one large file, whose content is in lists, or a directory of ten directories of ten files.
	perUnit  = 2000
	unitDirs = 10
	dirFiles = 10
	perFile  = perUnit / unitDirs / dirFiles

	// benchPlain bytes a blob make packs of 31 to 33 blobs, as many as one of 16 MiB has of 512 KiB, in the shortest column that there is.
	benchPlain  = 60
	benchTarget = pack.Align
	// benchSnapshots share most of what they need.
	benchSnapshots = 8
)

// benchStart is long ago: what the command backs up is later.
var benchStart = time.Unix(1_600_000_000, 0)

// benchBlob is the plaintext of the i-th blob.
func benchBlob(i int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(i))
	plain := make([]byte, benchPlain)
	rand.NewChaCha8(seed).Read(plain)
	return plain
}

// entry is a unit as a node of a root directory.
type entry struct{ full, half snapshot.Node }

// fill makes an archive with snapshots, of which the first needs all blobs. When it is forgotten, each sixth unit is garbage, and of two more
// of six each other file.
func (m *machine) fill(blobs int) {
	start := time.Now()
	ctx := m.b.Context()
	m.openStore()
	key, text, err := seal.NewKeyFile()
	m.must(err)
	m.key = key
	m.must(os.WriteFile(m.file("key"), []byte(text), 0o600))
	_, err = archive.Init(ctx, m.members, archive.InitOptions{Data: 1, Now: fixed, Slots: func(k *seal.Keys) ([]*seal.Slot, error) {
		slot, err := seal.NewKeyFileSlot(k, "one", m.key, fixed)
		return []*seal.Slot{slot}, err
	}})
	m.must(err)
	a := m.open(ctx)
	w, err := a.NewWriter(ctx)
	m.must(err)
	units := max(1, blobs/perUnit)
	m.fillData(ctx, w, units)
	m.must(w.Flush(ctx))
	w.SetTarget(0)
	entries, err := benchTrees(ctx, w, units)
	m.must(err)
	m.made = made{Blobs: units * perUnit, First: m.commit(ctx, w, entries, 0).String()}
	for n := 1; n < benchSnapshots; n++ {
		w, err := a.NewWriter(ctx)
		m.must(err)
		m.commit(ctx, w, entries, n)
	}
	m.must(a.Close())
	record, err := json.Marshal(m.made)
	m.must(err)
	m.must(os.WriteFile(m.file("made"), record, 0o600))
	m.b.Logf("filled %d blobs in %s", m.made.Blobs, time.Since(start).Round(time.Millisecond))
}

func (m *machine) fillData(ctx context.Context, w *archive.Writer, units int) {
	w.SetTarget(benchTarget)
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for u := range units {
		group.Go(func() error {
			for i := u * perUnit; i < (u+1)*perUnit; i++ {
				if _, err := w.Save(groupCtx, chunk.Data, benchBlob(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	m.must(group.Wait())
}

// benchTrees saves the trees of all units, and of those that later snapshots have in part.
func benchTrees(ctx context.Context, w *archive.Writer, units int) ([]entry, error) {
	entries := make([]entry, units)
	for u := range units {
		var err error
		if entries[u].full, err = benchUnit(ctx, w, u, 1); err != nil {
			return nil, err
		}
		if u%6 >= 4 {
			if entries[u].half, err = benchUnit(ctx, w, u, 2); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

// benchUnit saves the trees of a unit with each file, or each other one; of a large file with all of it, or one half.
func benchUnit(ctx context.Context, w *archive.Writer, u, each int) (n snapshot.Node, err error) {
	save := saver(w, chunk.Tree)
	if u%10 == 9 {
		n = snapshot.Node{Name: fmt.Sprintf("u%06d", u), Type: snapshot.File}
		n.Content, n.Depth, err = snapshot.SaveContent(ctx, benchIDs(u*perUnit, perUnit/each), save)
		return n, err
	}
	var dirs []snapshot.Node
	for d := range unitDirs {
		var files []snapshot.Node
		for f := 0; f < dirFiles; f += each {
			at := u*perUnit + (d*dirFiles+f)*perFile
			files = append(files, snapshot.Node{Name: fmt.Sprintf("f%d", f), Type: snapshot.File, Size: perFile * benchPlain, Content: benchIDs(at, perFile)})
		}
		dir := snapshot.Node{Name: fmt.Sprintf("d%d", d), Type: snapshot.Dir}
		if dir.Content, dir.Depth, err = snapshot.SaveTree(ctx, files, save); err != nil {
			return n, err
		}
		dirs = append(dirs, dir)
	}
	n = snapshot.Node{Name: fmt.Sprintf("u%06d", u), Type: snapshot.Dir}
	n.Content, n.Depth, err = snapshot.SaveTree(ctx, dirs, save)
	return n, err
}

func benchIDs(from, n int) []chunk.ID {
	ids := make([]chunk.ID, n)
	for i := range ids {
		ids[i] = chunk.Sum(benchBlob(from + i))
	}
	return ids
}

// commit makes the n-th snapshot.
func (m *machine) commit(ctx context.Context, w *archive.Writer, entries []entry, n int) chunk.ID {
	var nodes []snapshot.Node
	for u, e := range entries {
		node := e.full
		switch rest := u % 6; {
		case n == 0 || rest == 0:
		case rest == 3, rest < 3 && n%2 != rest%2:
			continue
		case rest >= 4:
			node = e.half
		}
		kind := chunk.Tree
		if node.Type == snapshot.File && node.Depth == 0 { // one half of a large file
			kind = chunk.Data
		}
		known, err := w.Known(kind, node.Content) // so that the session relies on them
		m.must(err)
		if !known {
			m.b.Fatalf("unit %d is not known", u)
		}
		nodes = append(nodes, node)
	}
	at := snapshot.TimeOf(benchStart.Add(time.Duration(n) * time.Hour))
	s := &snapshot.Snapshot{Series: "bench", Host: "bench", Paths: []string{"/"}, Start: at, End: at}
	var err error
	s.Content, s.Depth, err = snapshot.SaveTree(ctx, nodes, saver(w, chunk.Tree))
	m.must(err)
	_, err = w.Commit(ctx, s)
	m.must(err)
	return s.ID
}
