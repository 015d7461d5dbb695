package index

import "iter"

// Waits says whether a pack is named and condemned: a collector is at work, or was stopped. It reads the records of all packs,
// about 0.2 s for 300,000.
func (x *Index) Waits() (bool, error) { return waits(x.Packs()) }

// Waits does what Index.Waits does.
func (m *Map) Waits() (bool, error) { return waits(m.Packs()) }

func waits(packs iter.Seq2[PackInfo, error]) (bool, error) {
	for p, err := range packs {
		if err != nil || p.State == Condemned {
			return err == nil, err
		}
	}
	return false, nil
}
