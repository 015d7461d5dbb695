// Package dump knows what the texts look like that databases' dump programs write: how a complete one ends, and what in it has to be changed
// so that it can be restored under another name, by itself, or by somebody who does not trust it. It starts no programs and asks no servers.
//
// Invariants
//   - A text that does not end as a complete one ends gives an error in the place of its end, so a reader never takes a half for the whole.
//   - Nothing is changed but what is named: PostgreSQL's \restrict lines, MariaDB's CREATE DATABASE and USE, roles that are there already.
//   - Memory is bounded, whatever the text holds; nothing here panics (FuzzScript, FuzzFence).
//
// Nothing is safe for concurrent use.
package dump

import "bytes"

// What complete dumps end with.
const (
	PostgresMark = "-- PostgreSQL database dump complete"
	GlobalsMark  = "-- PostgreSQL database cluster dump complete"
	MariaDBMark  = "-- Dump completed"
	SQLiteMark   = "COMMIT;" // a dump that met an error ends with ROLLBACK
)

// TailSize is how much of the end of a dump is enough for Complete.
const TailSize = 512

// Complete says whether a dump that ends so ends with mark. What pg_dump puts behind its last words (\unrestrict) does not count.
func Complete(end []byte, mark string) bool {
	end = bytes.TrimRight(end, "-\n ")
	if i := bytes.LastIndexByte(end, '\n'); bytes.HasPrefix(end[i+1:], []byte(unrestrict)) {
		end = bytes.TrimRight(end[:i+1], "-\n ")
	}
	return bytes.HasSuffix(end, []byte(mark))
}
