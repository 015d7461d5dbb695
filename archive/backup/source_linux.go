package backup

import (
	"io"

	"golang.org/x/sys/unix"
)

// fileSource reads a file without its holes, up to the size it had when it was opened. pos is how far it
// came: what lies before is in what was read or in the holes.
type fileSource struct {
	extents
	at, end int64 // of the stretch that is being read
	short   bool  // the end of the file came before the expected size
	fault   func(offset int64) error
}

// Read implements io.Reader.
func (s *fileSource) Read(p []byte) (int, error) {
	if s.short {
		return 0, io.EOF
	}
	for s.at == s.end {
		start, end, err := s.next()
		if err != nil {
			return 0, err
		}
		if start == end {
			s.at, s.end = s.size, s.size
			return 0, io.EOF
		}
		s.at, s.end = start, end
	}
	if s.fault != nil {
		if err := s.fault(s.at); err != nil {
			return 0, err
		}
	}
	if int64(len(p)) > s.end-s.at {
		p = p[:s.end-s.at]
	}
	n, err := again(func() (int, error) { return unix.Pread(s.fd, p, s.at) })
	if err != nil {
		return 0, err
	}
	if n == 0 && len(p) > 0 {
		s.short = true
		return 0, io.EOF
	}
	s.at += int64(n)
	return n, nil
}

// readAhead tells the kernel that a large file is read from front to back; it doubles the read-ahead.
func readAhead(fd int) {
	_ = unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) // advice: an error changes nothing
}

func closeFD(fd int) { _ = unix.Close(fd) } // it was only read from
