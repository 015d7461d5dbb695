package archive

import (
	"bytes"
	"cmp"
	"slices"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// How a Fetch is cut into requests. Reading a blob more than it needs costs bytes, one request more costs a round trip: gaps between
// blobs are read along, the smallest first, as long as all of them are at most a twentieth of what is wanted. Where a column is wanted
// in more than maxSpans places, as after years of small changes, gaps of up to denseGap are read along beyond that: 64 KiB are
// about what a request costs on any line, and so many requests are as many as are under way at once.
const (
	gapShare = 20
	maxGap   = 1 << 20
	maxSpans = 32
	denseGap = 64 << 10
)

// wanted is a blob and its place.
type wanted struct {
	id chunk.ID
	pack.Location
}

// sealed is what the index says about the blob, as it was authenticated when it was sealed.
func (w *wanted) sealed() seal.Sealed {
	return seal.Sealed{ID: w.id, Type: w.Kind, Compression: w.Compression, Plain: w.Plain, Session: w.Session.ID}
}

func (w *wanted) end() int64 { return int64(w.Offset) + int64(w.Stored) }

// samePack says whether both can be read with one call. An index that is wrong may name one pack in two ways.
func (w *wanted) samePack(o *wanted) bool {
	return w.Pack == o.Pack && w.Geometry == o.Geometry && w.L == o.L
}

// span is a range of one column with the blobs that are wanted of it.
type span struct {
	from, to int64
	blobs    []wanted
}

func (s *span) first() *wanted { return &s.blobs[0] }

// stretch is what is read of one pack at once: ranges of its columns that lie beside each other. When shards are missing, the
// same range of k others gives all of them, so each byte of those is read once.
type stretch struct {
	from, to int64
	spans    []span
}

func (s *stretch) first() *wanted { return s.spans[0].first() }

// wantedBytes is the sum of the ranges.
func (s *stretch) wantedBytes() int64 {
	n := int64(0)
	for i := range s.spans {
		n += s.spans[i].to - s.spans[i].from
	}
	return n
}

// plan sorts blobs by place and cuts what is to be read into stretches, pack by pack. longest bounds the ranges of a stretch.
func plan(want []wanted, longest func(pack.Geometry) int64) []stretch {
	slices.SortFunc(want, func(a, b wanted) int {
		return cmp.Or(bytes.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.L, b.L), compareGeometry(a.Geometry, b.Geometry),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Offset, b.Offset))
	})
	gap := affordable(want)
	var out []stretch
	for from, to := 0, 0; from < len(want); from = to {
		for to = from + 1; to < len(want) && want[to].samePack(&want[from]); to++ {
		}
		out = appendStretches(out, packSpans(want[from:to], gap, longest(want[from].Geometry)), longest(want[from].Geometry))
	}
	return out
}

func compareGeometry(a, b pack.Geometry) int {
	return cmp.Or(cmp.Compare(a.K, b.K), cmp.Compare(a.M, b.M), cmp.Compare(a.Epoch, b.Epoch))
}

// gapBefore is the number of bytes between a blob and the one before it in its column, which is 0 for the first: nobody reads
// along what lies before that.
func gapBefore(want []wanted, i int) int64 {
	if i == 0 || !want[i].samePack(&want[i-1]) || want[i].Column != want[i-1].Column {
		return 0
	}
	return max(0, int64(want[i].Offset)-want[i-1].end())
}

// affordable returns the longest gap that is read along.
func affordable(want []wanted) int64 {
	needed := int64(0)
	var gaps []int64
	for i := range want {
		needed += int64(want[i].Stored)
		if gap := gapBefore(want, i); gap > 0 && gap <= maxGap {
			gaps = append(gaps, gap)
		}
	}
	slices.Sort(gaps)
	longest, spent := int64(0), int64(0)
	for from, to := 0, 0; from < len(gaps); from = to { // all gaps of one length or none
		for to = from; to < len(gaps) && gaps[to] == gaps[from]; to++ {
			spent += gaps[to]
		}
		if spent > needed/gapShare {
			break
		}
		longest = gaps[from]
	}
	return longest
}

// packSpans joins neighbours in the columns of one pack.
func packSpans(want []wanted, gap, longest int64) []span {
	var out []span
	for from, to := 0, 0; from < len(want); from = to {
		for to = from + 1; to < len(want) && want[to].Column == want[from].Column; to++ {
		}
		column := want[from:to]
		out = appendSpans(out, column, max(gap, gapFor(column)), longest)
	}
	return out
}

// gapFor returns how long gaps have to be read along so that a column takes no more than maxSpans requests, or denseGap.
func gapFor(column []wanted) int64 {
	if len(column) <= maxSpans {
		return 0
	}
	gaps := make([]int64, len(column))
	for i := range column {
		gaps[i] = gapBefore(column, i)
	}
	slices.Sort(gaps)
	return min(denseGap, gaps[len(gaps)-maxSpans])
}

func appendSpans(out []span, column []wanted, gap, longest int64) []span {
	start := 0
	for i := range column {
		from, to := int64(column[i].Offset), column[i].end()
		if i > start {
			s := &out[len(out)-1]
			if from <= s.to+gap && to-s.from <= longest {
				s.to = max(s.to, to) // an index that is wrong may let blobs overlap
				s.blobs = column[start : i+1]
				continue
			}
			start = i
		}
		out = append(out, span{from, to, column[i : i+1]})
	}
	return out
}

// appendStretches joins spans of one pack that overlap in their offsets.
func appendStretches(out []stretch, spans []span, longest int64) []stretch {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	start := 0
	for i, s := range spans {
		if i > start {
			last := &out[len(out)-1]
			if s.from < last.to && max(s.to, last.to)-last.from <= longest && i-start < maxSpans {
				last.to = max(last.to, s.to)
				last.spans = spans[start : i+1]
				continue
			}
			start = i
		}
		out = append(out, stretch{s.from, s.to, spans[i : i+1]})
	}
	return out
}
