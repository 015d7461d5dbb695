package chunk

import (
	"os"
	"syscall"
	"testing"
)

// TestLanesStayInside: the vector kernels read nothing outside of a block. Pages without access lie on both sides of it.
func TestLanesStayInside(t *testing.T) {
	t.Parallel()
	page := os.Getpagesize()
	const size = windowSize + 64*192
	inner := (size + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, inner+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(mem) })
	for _, fence := range [][]byte{mem[:page], mem[page+inner:]} {
		if err := syscall.Mprotect(fence, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	copy(mem[page:page+inner], random(inner, 1))
	for _, k := range kernels() {
		s := scanner{newTables(testPoly), 1<<30 - 1}
		s.t.use(k)
		for _, block := range [][]byte{mem[page : page+size], mem[page+inner-size : page+inner]} {
			for _, n := range []int{windowSize + 1, 1000, size} {
				s.find(block[:n], windowSize, n)
				s.find(block[size-n:], windowSize, n)
			}
		}
	}
}
