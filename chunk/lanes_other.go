//go:build !amd64

package chunk

// vectors are the tables of vector kernels: here there are none.
type vectors struct{}

func best() kernel { return portable }

func (t *tables) use(kernel) { t.kernel = portable }

func (s scanner) lanes([]byte, int) uint64 { return 1<<32 - 1 }
