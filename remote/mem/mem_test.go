package mem_test

import (
	"testing"

	"cairn/remote"
	"cairn/remote/mem"
	"cairn/remote/remotetest"
)

func TestStore(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Store { return mem.New() })
}

func TestSub(t *testing.T) {
	remotetest.Run(t, func(t *testing.T) remote.Store {
		s := mem.New()
		for _, other := range []string{"a", "m0", "m001/a", "m01/a", "m00.x"} { // must stay out of sight
			if err := s.Put(t.Context(), other, []byte("other")); err != nil {
				t.Fatal(err)
			}
		}
		return remote.Sub(s, "m00")
	})
}
