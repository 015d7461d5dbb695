// Package source describes applications as they are backed up and brought back: which directories, database dumps and exports belong
// together, in which order, what has to stop meanwhile, and what a restore must leave out, remove or change.
//
// Words: a source is one application, written down in a source file (YAML); a part is one thing of it that is read, in the order of the file;
// a class says how much a part is worth and how it comes back; a hook is something to run or to call; a guard is a condition that must hold;
// a profile is a source file that ships with the program and waits for its variables; a plan is what will be done, before it is done.
//
// The package holds what a source file says and reads it. It runs nothing and touches no archive: agent/source/run makes the snapshot,
// agent/source/restore the way back, agent/source/driver speaks to databases, agent/source/profile has the profiles.
//
// A file that uses a profile changes it like this:
//
//	vars, labels, classes, guards, restore   by key; a class by its keys
//	parts                                    by name, and in a part by key, in its kind, too (tree: {exclude: …} keeps the path);
//	                                         another kind takes the place of the kind. New parts come behind
//	hooks, restore.before, restore.steps     by name: the new one takes the place of the old one; others come behind
//	all else (keep, tags, verify, lists)     as a whole
//	omit: true                               takes a part or hook of the profile away
//	a key without a value                    leaves what the profile has; [] is an empty list
//
// A profile may stand upon another one. Its variables without a value are those that a file has to give.
//
// What Parse does: read (agent/document) → profile → variables (agent/variable) → structure → defaults → rules. All stages note what is wrong with its
// place, and go on; so one call tells everything. What goes into a snapshot (File.Effective) is the state after the second stage: it
// needs no profile to be read, and other variables can be given when it is restored elsewhere.
//
// Parse is pure: it reads no file, environment, clock or database. Files are not changed after Parse, and may be shared for reading.
//
// Invariants
//   - A File that Parse returned is complete: variables are put in, `each` is unrolled, defaults are set, and every rule of Validate holds.
//   - A secret is named (environment, file, command, systemd credential) and never written in the file, because the file is kept in each
//     snapshot. Its value is read at the moment of use and appears in no argument list, message or archive.
//   - Unknown keys are errors, with line and caret: a misspelled `exclude` must not become a backup of everything.
package source
