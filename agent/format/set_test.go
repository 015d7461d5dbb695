package format

import (
	"fmt"
	"sync"
	"testing"
)

// A set finds what was put in, doubles on the way, is used by several workers, and keeps to its memory.
func TestSet(t *testing.T) {
	t.Parallel()
	s := NewSet(1 << 20)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				s.Add(NameKey(fmt.Sprint(w*5000+i)), uint32(i))
			}
		})
	}
	wg.Wait()
	if s.Len() != 20000 || s.Full() {
		t.Fatalf("%d of 20000 names, full: %v", s.Len(), s.Full())
	}
	for i := range 20000 {
		if tag, there := s.Get(NameKey(fmt.Sprint(i))); !there || tag != uint32(i%5000) {
			t.Fatalf("%d: %d, %v", i, tag, there)
		}
	}
	if _, there := s.Get(NameKey("other")); there {
		t.Error("a name that was not put in")
	}
	if old, there := s.Add(Key{}, 7); there {
		t.Errorf("the zero key was there: %d", old)
	}
	if old, there := s.Add(Key{}, 8); !there || old != 7 {
		t.Errorf("the zero key: %d, %v", old, there)
	}
	for i := 20000; i < 100000; i++ {
		s.Add(NameKey(fmt.Sprint(i)), 0)
	}
	if !s.Full() || len(s.slots)*16*3/2 > 1<<20 {
		t.Errorf("full: %v, %d slots", s.Full(), len(s.slots))
	}
}
