package recover

import "cairn/snapshot"

const (
	// maxRanges of one file are told; more are joined.
	maxRanges = 64
	// keptRanges of one file are kept while it is measured: 64 KiB.
	keptRanges = 4096
)

// measure goes along the blobs of a file and works out which of its bytes are lost. The length of a lost blob is known when the index
// still knows the blob. When it does not, one gap of unknown length follows from the file's size; of several the sum does, and
// they are told as one range that begins where the first and ends where the last does.
type measure struct {
	holes   []snapshot.Range
	content uint64 // bytes between the holes

	wrong   bool
	exact   bool             // ranges say exactly what is lost
	missing uint64           // bytes that are lost
	ranges  []snapshot.Range // of the content, then (end) of the file

	pos   uint64 // in the content, as long as no length is unknown
	open  bool   // a gap of unknown length was met
	from  uint64 // where it begins
	since uint64 // bytes since its end
	known uint64 // bytes that can be read
	tail  []snapshot.Range
}

func newMeasure(n *snapshot.Node) *measure {
	m := &measure{holes: n.Holes, content: n.Size, exact: true}
	for _, h := range n.Holes {
		m.content -= min(m.content, h.Length)
	}
	return m
}

// have passes n bytes that can be read.
func (m *measure) have(n uint64) {
	m.known += n
	m.pass(n)
}

func (m *measure) pass(n uint64) {
	if m.open {
		m.since += n
	} else {
		m.pos += n
	}
}

// lost passes n bytes that cannot be read.
func (m *measure) lost(n uint64) {
	m.wrong = true
	if m.open {
		m.tail = join(m.tail, snapshot.Range{Offset: m.since, Length: n})
	} else {
		m.ranges = join(m.ranges, snapshot.Range{Offset: m.pos, Length: n})
	}
	m.pass(n)
}

// unknown passes a blob that cannot be read and whose length is not known.
func (m *measure) unknown() {
	m.wrong = true
	switch {
	case !m.open:
		m.open, m.from = true, m.pos
	case m.since > 0: // what lies between is somewhere in the gap
		m.exact = m.exact && covered(m.tail, m.since)
	}
	m.since, m.tail = 0, nil
}

// covered says whether the ranges are all of the first n bytes: then a gap simply goes on.
func covered(ranges []snapshot.Range, n uint64) bool {
	return len(ranges) == 1 && ranges[0] == snapshot.Range{Length: n}
}

// join appends a range, and joins it to the last one if they touch, or if there are too many.
func join(ranges []snapshot.Range, r snapshot.Range) []snapshot.Range {
	last := len(ranges) - 1
	if last < 0 || ranges[last].Offset+ranges[last].Length != r.Offset && last+1 < keptRanges {
		return append(ranges, r)
	}
	ranges[last].Length = r.Offset + r.Length - ranges[last].Offset
	return ranges
}

// end closes the gap and turns places in the content into places in the file.
func (m *measure) end() {
	if !m.wrong {
		return
	}
	m.missing = m.content - min(m.content, m.known)
	if m.open {
		to := max(m.from, m.content-min(m.content, m.since))
		m.ranges = join(m.ranges, snapshot.Range{Offset: m.from, Length: to - m.from})
		for _, r := range m.tail {
			m.ranges = join(m.ranges, snapshot.Range{Offset: to + r.Offset, Length: r.Length})
		}
	}
	m.inFile()
	if len(m.ranges) > maxRanges {
		last := m.ranges[len(m.ranges)-1]
		from := m.ranges[maxRanges-1].Offset
		m.ranges = append(m.ranges[:maxRanges-1], snapshot.Range{Offset: from, Length: last.Offset + last.Length - from})
		m.exact = false
	}
}

// inFile turns places in the content into places in the file, around its holes.
func (m *measure) inFile() {
	if len(m.holes) == 0 {
		return
	}
	var out []snapshot.Range
	h, shift := 0, uint64(0) // holes passed, and their length
	for _, r := range m.ranges {
		for r.Length > 0 {
			for h < len(m.holes) && m.holes[h].Offset <= r.Offset+shift {
				shift += m.holes[h].Length
				h++
			}
			n := r.Length
			if h < len(m.holes) {
				n = min(n, m.holes[h].Offset-shift-r.Offset)
			}
			out = append(out, snapshot.Range{Offset: r.Offset + shift, Length: n})
			r.Offset, r.Length = r.Offset+n, r.Length-n
		}
	}
	m.ranges = out
}
