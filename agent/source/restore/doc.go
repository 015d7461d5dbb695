// Package restore brings sources back: it makes a plan of a snapshot and a source file, tells it as text, and executes it.
//
//	snapshots ─ Choose ─▶ Chosen ─ New ─▶ Plan ─ Text, Refusals ─▶ Execute
//	                                       │
//	     guards → before → safety → remove, empty → files → databases → rewrites → steps
//
// Words: then is the source file as the snapshot keeps it, now is the one of this machine (or then with other variables): then tells what the
// snapshot holds and under which paths, now where it goes and what is done beside. A part is paired by its name. To wipe is to remove or to empty.
// A restore beside puts everything below another directory (Options.To) and leaves the application alone: no guards, hooks or steps.
//
// Invariants
//   - A plan touches nothing. What it shows is what is executed: lists of files to rewrite, databases and directories are made once.
//   - What is of class never, by then or by now, is not restored, and what is derived neither, unless it was named (Options.Force, WithDerived). That
//     holds for parts and for patterns within trees, wherever the snapshot has them from.
//   - Removing, emptying and rewriting end at the declared roots (agent/source/wipe, os.Root), whatever links there are.
//   - Guards of all sources of a set hold, and nothing is missing, before the first of them is touched; what overrides that is told.
//   - The stages of a set go side by side: all are stopped before one is changed, and steps come when all are back, in the order of the set. After a
//     stage that failed, or files that did not come back whole, no step is run.
//
// Plan and Execute are for one goroutine each. A crash leaves what the stage that it met had done: the same command again goes on from there,
// because files that are right are kept, what is to be removed is gone, and databases come whole or not at all (agent/source/driver); one that
// came already has to be replaced, or left out by naming parts.
package restore
