package index

import "github.com/dgraph-io/badger/v4"

// Wasteful says whether more than half of at least 100,000 entries are of packs that are gone: then Drop and fill the index
// again. It reads the records of all packs, as Waits does: 0.2 to 0.5 s for a million.
func (x *Index) Wasteful() (bool, error) {
	var w waste
	err := x.eachPack(w.add)
	return w.much(), err
}

// Wasteful does what Index.Wasteful does.
func (m *Map) Wasteful() (bool, error) {
	var w waste
	err := m.eachPack(w.add)
	return w.much(), err
}

// waste counts entries.
type waste struct{ all, gone uint64 }

const wasteFrom = 100_000

func (w *waste) add(p *packRecord) {
	w.all += uint64(p.blobs)
	if p.named() == 0 {
		w.gone += uint64(p.blobs)
	}
}

func (w *waste) much() bool { return w.all >= wasteFrom && w.gone > w.all/2 }

// Waits says whether a pack is named and condemned: a collector is at work, or was stopped.
func (x *Index) Waits() (waits bool, err error) {
	err = x.eachPack(func(p *packRecord) { waits = waits || p.waits() })
	return waits, err
}

// Waits does what Index.Waits does.
func (m *Map) Waits() (waits bool, err error) {
	err = m.eachPack(func(p *packRecord) { waits = waits || p.waits() })
	return waits, err
}

func (p *packRecord) waits() bool { return p.condemned && p.named() != 0 }

func (x *Index) eachPack(fn func(*packRecord)) error {
	for _, err := range scan(x.d, []byte{prefixPack}, func(_ *badger.Txn, _, value []byte) (struct{}, error) {
		p, err := parsePack(value)
		if err == nil {
			fn(&p)
		}
		return struct{}{}, err
	}) {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Map) eachPack(fn func(*packRecord)) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for i := range m.packs {
		fn(&m.packs[i])
	}
	return m.open()
}
