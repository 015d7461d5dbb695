// Package restore plans how sources come back: from a snapshot and a source file it makes a plan, which agent/source/restore/show tells and
// agent/source/restore/perform executes.
//
//	snapshots ─ held.Choose ─ held.Open ─▶ Origin ─ New ─▶ Plan ─ show.Text, Refusals ─▶ perform.Execute
//
// Words: then is the source file as the snapshot keeps it, now is the one of this machine (or then with other variables): then tells what the
// snapshot holds and under which paths, now where it goes and what is done beside. A part is paired by its name. To wipe is to remove or to empty.
// A restore beside puts everything below another directory (Options.To) and leaves the application alone: no guards, hooks or steps.
//
// Invariants
//   - Making a plan touches nothing. What it shows is what is executed: lists of files to rewrite, databases and directories are made once.
//   - What is of class never, by then or by now, is not restored, and what is derived neither, unless it was named (Options.Force, WithDerived). That
//     holds for parts and for patterns within trees, wherever the snapshot has them from.
//   - Removing, emptying and rewriting are confined to the declared roots (agent/source/wipe, os.Root), whatever links there are.
//   - What is named and not there (parts, databases, classes) is an error: a restore that quietly does less than was asked for is none.
//
// Memory: what is listed of one source (10,000 files to rewrite, 1,000 places left out); trees are walked and not held. New and RestoreTree belong to one
// goroutine for a plan; the rules that they hand to archive/restore are only read. Nothing is written but by RestoreTree, so a crash of New
// leaves nothing.
package restore
