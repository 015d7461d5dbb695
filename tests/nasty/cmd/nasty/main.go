// Nasty builds a tree that is hard to back up, and prints what it could not make.
package main

import (
	"flag"
	"fmt"
	"os"

	"cairn/tests/nasty"
)

func main() {
	os.Exit(run())
}

func run() int {
	var o nasty.Options
	flag.Uint64Var(&o.Seed, "seed", 0, "the same seed makes the same tree")
	flag.IntVar(&o.Entries, "entries", 0, "files in the large directory (default 20000, 300 with -small)")
	flag.BoolVar(&o.Big, "big", false, "also a file of more than 4 GiB without holes")
	flag.BoolVar(&o.Small, "small", false, "leave out what takes long")
	remove := flag.Bool("remove", false, "remove DIR instead, also what is locked")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: nasty [flags] DIR")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		return 2
	}
	if *remove {
		return report(nasty.Remove(flag.Arg(0)))
	}
	r, err := nasty.Build(flag.Arg(0), o)
	for _, s := range r.Skipped {
		fmt.Println("not made:", s)
	}
	fmt.Printf("%d names made\n", r.Names)
	return report(err)
}

func report(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "nasty:", err)
		return 1
	}
	return 0
}
