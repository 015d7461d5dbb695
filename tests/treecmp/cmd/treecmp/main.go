// Treecmp compares two directory trees and prints each difference.
// Exit: 0 equal · 1 different, or something could not be read · 2 usage.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"

	"cairn/tests/treecmp"
)

func main() {
	os.Exit(run())
}

func run() int {
	var o treecmp.Options
	flag.BoolVar(&o.IgnoreOwner, "ignore-owner", false, "do not compare uid and gid")
	flag.BoolVar(&o.IgnoreRoot, "ignore-root", false, "do not compare the metadata of A and B themselves")
	flag.BoolVar(&o.IgnoreUnreadable, "ignore-unreadable", false, "leave out what cannot be read in A")
	flag.Func("ignore-xattr", "do not compare attributes whose names begin with `PREFIX` (repeatable)", func(s string) error {
		o.IgnoreXattrs = append(o.IgnoreXattrs, s)
		return nil
	})
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: treecmp [flags] A B")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		return 2
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	count := 0
	err := treecmp.Compare(flag.Arg(0), flag.Arg(1), o, func(d treecmp.Difference) {
		count++
		fmt.Fprintln(out, d)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "treecmp:", err)
		return 1
	}
	if count > 0 {
		fmt.Fprintf(out, "%d differences\n", count)
		return 1
	}
	return 0
}
