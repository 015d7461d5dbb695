package restore

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"cairn/agent/source"
)

// A24, E11: databases are sent elsewhere by name.
func TestParseRedirect(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*Redirect{
		"app":                     {Database: "app"},
		"app=app2":                {Database: "app", As: "app2"},
		"app=app2@db.new:5433":    {Database: "app", As: "app2", Host: "db.new", Port: 5433},
		"app=@db.new":             {Database: "app", Host: "db.new"},
		"db/app=x":                {Part: "db", Database: "app", As: "x"},
		"app=a@b@[::1]:5432":      {Database: "app", As: "a@b", Host: "::1", Port: 5432},
		"app=x@[::1]":             {Database: "app", As: "x", Host: "::1"},
		"app=@/run/postgresql":    {Database: "app", Host: "/run/postgresql"},
		"shop.db=/srv/new/x@y.db": {Database: "shop.db", As: "/srv/new/x@y.db"},
		"":                        nil, "=x": nil, "app=x@": nil, "app=x@h:0": nil, "app=x@h:70000": nil, "app=x@h:x": nil, "app=/a/../b": nil, "db/=x": nil,
	} {
		got, err := ParseRedirect(text)
		if want == nil {
			if err == nil {
				t.Errorf("%q was taken: %+v", text, got)
			}
			continue
		}
		if diff := cmp.Diff(*want, got); diff != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, diff)
		}
	}
}

// A25, A26: directories move to where they are on another machine.
func TestMaps(t *testing.T) {
	t.Parallel()
	var maps []Map
	for _, text := range []string{"/srv/old=/srv/new", "/srv/old/data=/big", "/a=/"} {
		m, err := ParseMap(text)
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, m)
	}
	for from, want := range map[string]string{"/srv/old": "/srv/new", "/srv/old/x": "/srv/new/x", "/srv/old/data": "/big", "/srv/old/data/y": "/big/y", "/srv/older": "/srv/older", "/a/x": "/x", "/": "/"} {
		if got, moved := move(maps, from); got != want || moved != (got != from) {
			t.Errorf("%s became %s", from, got)
		}
	}
	for _, text := range []string{"", "/a", "a=/b", "/a=b", "/a/../b=/c", "/a/=/b"} {
		if m, err := ParseMap(text); err == nil {
			t.Errorf("%q was taken: %+v", text, m)
		}
	}
	if err := (&Options{PathMap: []Map{{"/a", "/b"}, {"/a", "/c"}}}).check(); err == nil {
		t.Error("one directory went to two places")
	}
	for _, text := range []string{"never", "never:", "data:/x", "never:/a/../b", ":x"} {
		if f, err := ParseForce(text); err == nil {
			t.Errorf("%q was taken: %+v", text, f)
		}
	}
	if f, err := ParseForce("derived:/a/b/"); err != nil || f != (Force{source.Derived, "/a/b"}) {
		t.Errorf("%+v, %v", f, err)
	}
}
