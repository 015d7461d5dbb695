package archive

// Kill ends a session as a crash does: nothing more is stored, and its journal stays, without its lock.
func (w *Writer) Kill() {
	w.cancel()
	for range cap(w.uploads) {
		w.uploads <- struct{}{} // uploads under way have ended
	}
	if w.journal != nil {
		w.journal.file.Close()
	}
	w.closeNote(false)
}
