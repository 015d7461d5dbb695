package prune

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"cairn/pack"
)

// heldFile is in the cache directory. It names, one a line, the index packs that were replaced and that an object lock holds. What they name
// is named elsewhere: each collection tries to remove them, and none publishes once more what they name. Without the file that costs
// one index pack more.
const heldFile = "held-segments"

// maxHeldFile bounds what is read of it: 15,000 names.
const maxHeldFile = 1 << 20

// readHeld returns the index packs that are held, as far as the index has them still.
func (g *Prune) readHeld() map[pack.ID]bool {
	held := map[pack.ID]bool{}
	if g.a.Dir() == "" {
		return held
	}
	f, err := os.Open(filepath.Join(g.a.Dir(), heldFile))
	if err != nil {
		return held
	}
	defer f.Close()
	for s := bufio.NewScanner(io.LimitReader(f, maxHeldFile)); s.Scan(); {
		if id, err := pack.ParseID(s.Text()); err == nil {
			held[id] = true
		}
	}
	return held
}

// writeHeld is the reverse. That it cannot be written is not worth stopping for.
func (g *Prune) writeHeld(held map[pack.ID]bool) {
	if g.a.Dir() == "" {
		return
	}
	name := filepath.Join(g.a.Dir(), heldFile)
	if len(held) == 0 {
		_ = os.Remove(name)
		return
	}
	var text bytes.Buffer
	for _, id := range slices.SortedFunc(maps.Keys(held), func(a, b pack.ID) int { return bytes.Compare(a[:], b[:]) }) {
		fmt.Fprintln(&text, id)
	}
	if os.WriteFile(name+".new", text.Bytes(), 0o600) == nil {
		_ = os.Rename(name+".new", name)
	}
}

// removeHeld tries to remove index packs that were held the last time, and says which still are.
func (g *Prune) removeHeld(ctx context.Context, held map[pack.ID]bool) (map[pack.ID]bool, error) {
	still := map[pack.ID]bool{}
	for id := range held {
		applied, err := g.idx.Applied(id)
		if err != nil {
			return still, err
		}
		if !applied {
			continue // it is gone, or was never whole
		}
		locked, err := g.a.RemoveSegment(ctx, id)
		switch {
		case err != nil:
			return still, err
		case locked:
			still[id] = true
		default:
			g.report.Segments++
		}
	}
	return still, nil
}
