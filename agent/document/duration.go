package document

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads 90s, 10m, 1h30m or 2d. A number needs a unit, unless it is 0.
func ParseDuration(text string) (time.Duration, error) {
	err := errors.New("a length of time is written like 90s, 10m, 1h30m or 2d")
	if days, found := strings.CutSuffix(text, "d"); found {
		n, bad := strconv.ParseUint(days, 10, 16)
		if bad != nil {
			return 0, err
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	length, bad := time.ParseDuration(text)
	if bad != nil || length < 0 {
		return 0, err
	}
	return length, nil
}

// FormatDuration writes what ParseDuration reads, without units that are zero.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 && d/day < 1<<16 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
