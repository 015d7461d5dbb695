package prune

// bitmap is a set of blob numbers, one bit each: 12.5 MB for 10^8 numbers that the index gave away, in pages that are made when a
// number of theirs is added. The zero value is empty.
type bitmap struct {
	pages []*[pageWords]uint64
	n     uint64
}

// pageWords of 64 numbers are made at once: 8 KiB.
const (
	pageWords = 1 << 10
	pageBits  = pageWords * 64
)

// add puts a number in and says whether it is new.
func (b *bitmap) add(n uint32) bool {
	page := int(n / pageBits)
	for len(b.pages) <= page {
		b.pages = append(b.pages, nil)
	}
	if b.pages[page] == nil {
		b.pages[page] = new([pageWords]uint64)
	}
	word, bit := &b.pages[page][n%pageBits/64], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	b.n++
	return true
}

func (b *bitmap) has(n uint32) bool {
	page := int(n / pageBits)
	return page < len(b.pages) && b.pages[page] != nil && b.pages[page][n%pageBits/64]&(1<<(n%64)) != 0
}

// remove takes a number out and says whether it was in.
func (b *bitmap) remove(n uint32) bool {
	if !b.has(n) {
		return false
	}
	b.pages[n/pageBits][n%pageBits/64] &^= 1 << (n % 64)
	b.n--
	return true
}

// len is how many numbers are in.
func (b *bitmap) len() uint64 { return b.n }
