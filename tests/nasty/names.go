package nasty

import (
	"fmt"
	"path"
	"strings"
)

// difficult are names for files and for directories with a file inside.
func difficult() []string {
	list := []string{
		"\xff\xfe\x80", "caf\xe9", "caf\u00e9", "cafe\u0301", "\xed\xa0\x80surrogate", "\xc0\xafoverlong", "\xf4\x90\x80\x80",
		"a\nb", "\n", "tab\t", "\r", "bell\x07", "esc\x1b[31m", "\x01", "\x7f",
		"\"quoted\"", "it's", "`tick`", "$HOME", "${x}", "%s%n", "back\\slash", "\\", "\\n", "*", "?", "[a-z]", "{a,b}", "!x", "#x", "~", "&", ";", "|", "<>", "(x)", "=",
		" ", " lead", "trail ", "trail.", "-rf", "--", "-", "+", "...", "..x", ".hidden", "x..", ":", "c:", "@", ",", "nul", "m00", "cairn.json",
		"日本語", "\u202eright-to-left", "e\u0301\u0323", "\U0001F600", "\u200b", "\ufeffbom",
		strings.Repeat("n", 255), strings.Repeat("\xff", 255), strings.Repeat("ä", 127) + "x", strings.Repeat("\n", 255),
	}
	for b := 1; b < 256; b++ {
		if b != '/' {
			list = append(list, fmt.Sprintf("byte %03d ", b)+string([]byte{byte(b)}))
		}
	}
	return list
}

func (t *tree) names() {
	t.dir("names")
	t.dir("names/files")
	t.dir("names/dirs")
	t.dir("names/empty dir")
	for i, name := range difficult() {
		t.file("names/files/"+name, []byte(fmt.Sprintf("file %d\n", i)))
		if i < 70 {
			t.dir("names/dirs/" + name)
			t.file("names/dirs/"+name+"/"+name, []byte(name))
		}
	}
	// names that sort differently with and without the slash of a directory
	for _, name := range []string{"a", "a.", "a0", "a-"} {
		t.dir("names/" + name)
		t.file("names/"+name+"/x", []byte(name))
		t.file("names/"+name+"!", nil)
	}
}

// deep makes a path of more than 6000 bytes (PATH_MAX is 4096) and one of 500 levels.
func (t *tree) deep() {
	t.dir("deep")
	for _, c := range []struct {
		element string
		levels  int
	}{{strings.Repeat("d", 200), 30}, {"e", 500}, {strings.Repeat("\xfe", 255), 17}} {
		at := "deep"
		for range c.levels {
			at += "/" + c.element
			t.dir(at)
		}
		t.file(at+"/file", []byte("at the bottom\n"))
		t.symlink("../file", at+"/symlink")
		t.link(at+"/file", path.Dir(at)+"/link")
	}
}

// many is a directory with more entries than one tree blob takes.
func (t *tree) many() {
	t.dir("many")
	rnd := t.random("many")
	for i := range t.o.Entries {
		var content []byte
		if i%2 == 1 {
			content = []byte(fmt.Sprintf("%d %x\n", i, rnd.Uint64()))
		}
		t.file(fmt.Sprintf("many/%08x-%d", uint32(rnd.Uint64()), i), content)
	}
}

// cacheTag is a directory that says it need not be backed up, and one that only looks like it.
func (t *tree) cacheTag() {
	const signature = "Signature: 8a477f597d28d172789f06886806bc55"
	t.dir("cache")
	t.file("cache/CACHEDIR.TAG", []byte(signature+"\n# This directory can be made again.\n"))
	t.file("cache/made again", t.bytes("cache", 10000))
	t.dir("cache/inside")
	t.file("cache/inside/too", []byte("x"))
	t.dir("not cache")
	t.file("not cache/CACHEDIR.TAG", []byte("Signature: another"))
	t.file("not cache/kept", []byte("x"))
}
