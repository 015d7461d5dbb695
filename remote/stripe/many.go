package stripe

import (
	"context"
	"sync"
)

// Range is a wanted part of a shard's coded region.
type Range struct {
	Shard  int
	Off, N int64
	Dst    []byte // the result is in Dst[:0] if its capacity is enough
}

// ReadMany is Read of several ranges of one object at once. Results and errors are those of wants, in their order.
func (s *Set) ReadMany(ctx context.Context, o Object, wants []Range, avoid []int) ([][]byte, []error) {
	data, errs := make([][]byte, len(wants)), make([]error, len(wants))
	var wg sync.WaitGroup
	for i, w := range wants {
		wg.Go(func() { data[i], errs[i] = s.Read(ctx, o, w.Shard, w.Off, w.N, w.Dst, avoid) })
	}
	wg.Wait()
	return data, errs
}
