// Package run makes one snapshot of one source.
//
//	lock ─ notes of runs that broke off ─ guards ─ archive ─ warm pass ─ note ─ before ─ parts in their order ─ finally ─ note gone ─ commit ─ after
//	                                                                       └──────── the application stands ────────┘        failure: on_error
//
// Words: a job is what one run of a source reads, for which host and series (Plan); a note is what stands in the state directory while an
// application may have been stopped: the finally hooks, as they were when the run began.
//
// Invariants
//   - There is one snapshot of all parts of the job, or none; with Options.Force one of what could be read, marked as partial.
//   - What before began, finally ends: as soon as everything is read, before the upload is waited for; also after a failure, an
//     interruption and a time-out, in a context of its own with a time of its own. If the first hook of before skips, nothing was begun.
//   - The note is durable before the first hook of before, and goes when finally has run. A process that holds the lock of the source is alive:
//     the kernel lets go of it, however the process ends. So a note without a held lock is of a run that broke off, and the next run of
//     any source (Recover) runs its hooks, of the file as it was then, when the hook that was at work has ended. The note of a run whose finally
//     hooks failed stays, too.
//   - A class with a schedule of its own is left out of the ordinary run. A run of class config or log alone leaves the application in
//     peace: neither guards nor warm pass nor before nor finally.
//   - What is exported into a directory with `clean` is removed only when the snapshot is stored.
//   - No value of a secret is in a note, a paper, a report or an error.
//
// A Run is to be called once for a Job at a time; several jobs may run side by side in one process. A crash leaves a note, blobs that no
// snapshot names, and what an export or a repository wrote into its staging directory, which the next run replaces.
package run
