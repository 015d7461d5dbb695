// Package hook runs what a source file wants run around a backup or a restore, makes its HTTP requests, and asks its guards.
//
// Invariants
//   - A hook that ends well may leave a service behind, which lives on, with its messages dropped. Nothing that a failed one left lives on.
//   - Every hook ends: after its time-out (10 minutes if it names none) its process group is told to end, and killed process.Grace later.
//   - Secrets are read at the moment of use; they are in the environment of the program or in a header, and masked in what is kept and passed on.
//   - Asking guards changes nothing.
//
// Everything may be called from several goroutines. A crash of this program leaves a hook running to its end: it does not hear of it.
package hook
