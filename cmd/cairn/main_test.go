package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cairn": main})
}

// TestScript runs the scripts in testdata/script, each in a folder and a HOME of its own. They read like a manual.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			for _, v := range []string{"CAIRN_ARCHIVE", "CAIRN_PASSWORD", "CAIRN_PASSWORD_FILE", "CAIRN_PASSWORD_COMMAND", "CAIRN_KEY_FILE", "CAIRN_CACHE_DIR",
				"CAIRN_NEW_PASSWORD", "CAIRN_TO_ARCHIVE", "CAIRN_TO_KEY_FILE", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
				"XDG_STATE_HOME", "STATE_DIRECTORY", "CAIRN_SOURCES"} {
				e.Setenv(v, "")
			}
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, // exits CODE COMMAND ARGS…
			"flip":  flip,  // flip GLOB: invert a byte in the middle of the first file that matches
			"first": firstOf,
			"sleep": sleep, // sleep DURATION

			"fixture":  makeFixture, // fixture sophora|js7|ocfl|modeshape DIR, fixture seafile DIR DUMP: what the product keeps on disk
			"sametree": sameTree,    // sametree DIR DIR: same names, contents, modes, times and owners
		},
	})
}
