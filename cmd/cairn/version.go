package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// release is what the next release will be called.
const release = "0.1.0"

// version is the release and, for builds from a checkout, the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return release + "-" + s.Value[:12]
		}
	}
	return release
}

func versionCommand(e *env) *cli.Command {
	return command(e, &cli.Command{
		Name: "version", Usage: "print the version",
		Description: "Prints the version, the archive format that it writes, and what it was built with and for.",
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			if e.json {
				return e.printJSON(map[string]any{"type": "version", "version": version(), "format": 1, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
			}
			fmt.Fprintf(e.stdout, "cairn %s, archive format 1, %s %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	})
}

// programName is recorded with what this program writes.
func programName() string { return "cairn " + version() }
