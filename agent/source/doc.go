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
// Invariants
//   - A File that Parse returned is complete: variables are put in, `each` is unrolled, defaults are set, and every rule of Validate holds.
//   - A secret is named (environment, file, command, systemd credential) and never written in the file, because the file is kept in each
//     snapshot. Its value is read at the moment of use and appears in no argument list, message or archive.
//   - Unknown keys are errors, with line and caret: a misspelled `exclude` must not become a backup of everything.
package source
