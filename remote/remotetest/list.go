package remotetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/remote"
)

func testList(t *testing.T, s remote.Store) {
	if got := list(t, s, ""); len(got) != 0 {
		t.Fatalf("List of an empty store: %q", got)
	}
	names := []string{"a", "ab", "ab.c", "b/a", "b/b/c", "b/b/d/e", "b.x", "bb/a", "c/d/e/f/g", "z"}
	for _, name := range names {
		mustPut(t, s, name, []byte(name))
	}
	for _, prefix := range []string{"", "b/", "b/b/", "b/b/d/", "bb/", "c/", "c/d/e/f/", "a/", "ab/", "b/a/", "none/", "none/below/", "z/z/"} {
		wanted := []string{}
		for _, name := range names {
			if strings.HasPrefix(name, prefix) {
				wanted = append(wanted, name)
			}
		}
		slices.Sort(wanted)
		if got := list(t, s, prefix); !slices.Equal(got, wanted) {
			t.Errorf("List(%q): %q, want %q", prefix, got, wanted)
		}
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.Size != int64(len(info.Name)) || info.Modified.IsZero() {
			t.Errorf("List: %+v, %v", info, err)
		}
		// S3 gives whole seconds here and milliseconds there, and a mirror asks another member.
		if st, err := s.Stat(t.Context(), info.Name); err != nil || st.Size != info.Size || st.Modified.Sub(info.Modified).Abs() > 2*time.Second {
			t.Errorf("List says %+v, Stat %+v, %v", info, st, err)
		}
	}
}

// testListMany has more objects in one directory than any page or batch holds.
func testListMany(t *testing.T, s remote.Store) {
	var names []string
	for i := range 1100 {
		names = append(names, fmt.Sprintf("many/%04d", i))
	}
	for i := range 40 {
		names = append(names, fmt.Sprintf("many/%02d/%02d", i, i))
	}
	inParallel(len(names), func(i int) {
		if err := s.Put(t.Context(), names[i], nil); err != nil {
			t.Error(err)
		}
	})
	slices.Sort(names)
	if got := list(t, s, "many/"); !slices.Equal(got, names) {
		t.Errorf("List: %d names, want %d", len(got), len(names))
	}
}

func testListStops(t *testing.T, s remote.Store) {
	for i := range 20 {
		mustPut(t, s, fmt.Sprintf("d%d/x", i), nil)
	}
	for stop := 1; stop < 20; stop += 6 {
		n := 0
		for _, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == stop {
				break
			}
		}
		if n != stop {
			t.Errorf("left the loop after %d objects, want %d", n, stop)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range s.List(ctx, "") {
		cancel()
		if last != nil {
			t.Errorf("List goes on after an error: %v", last)
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List whose context is canceled meanwhile ends with %v", last)
	}
}

// testListWhileChanging uses the other methods inside a loop over List. What does not change meanwhile is seen, once.
func testListWhileChanging(t *testing.T, s remote.Store) {
	for i := range 60 {
		mustPut(t, s, fmt.Sprintf("keep/%d", i), nil)
		mustPut(t, s, fmt.Sprintf("drop/%d", i), nil)
	}
	seen := make(map[string]int)
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		seen[info.Name]++
		if strings.HasPrefix(info.Name, "drop/") {
			if err := s.Delete(t.Context(), info.Name); err != nil {
				t.Fatal(err)
			}
			mustPut(t, s, "new/"+strings.TrimPrefix(info.Name, "drop/"), nil)
		}
	}
	for i := range 60 {
		for _, dir := range []string{"keep", "drop"} {
			if name := fmt.Sprintf("%s/%d", dir, i); seen[name] != 1 {
				t.Errorf("%s seen %d times", name, seen[name])
			}
		}
	}
	if got := list(t, s, "drop/"); len(got) != 0 {
		t.Errorf("left after deleting all: %q", got)
	}
	if got := list(t, s, "new/"); len(got) != 60 {
		t.Errorf("%d objects put meanwhile, want 60", len(got))
	}
}

// inParallel calls f for 0 ≤ i < n, 8 at a time.
func inParallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
