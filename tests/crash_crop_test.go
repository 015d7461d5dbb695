package tests

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// crop is a small tree that follows from numbers alone, times included, so that what it was at any time can be made again. Its
// contents are out of a pool that all crops share: what one backup has just forgotten, another one needs again.
type crop struct {
	files map[string]cropFile // below the top
	step  int
}

type cropFile struct{ seed, step int } // what is in it, and when it was written

const cropPool = 80

var cropBegan = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (c *crop) clone() *crop { return &crop{files: maps.Clone(c.files), step: c.step} }

// grow changes some files.
func (c *crop) grow(rnd *rand.Rand) {
	c.step++
	if c.files == nil {
		c.files = map[string]cropFile{}
	}
	for range 1 + rnd.IntN(6) {
		name := fmt.Sprintf("d%d/f%d", rnd.IntN(3), rnd.IntN(10))
		if rnd.IntN(5) == 0 {
			delete(c.files, name)
		} else {
			c.files[name] = cropFile{rnd.IntN(cropPool), c.step}
		}
	}
}

// lay makes a directory the crop's tree; had is what it is already, or nil if it is not there.
func (c *crop) lay(top string, had *crop) error {
	if had == nil {
		had = &crop{}
		for d := range 3 {
			if err := os.MkdirAll(filepath.Join(top, fmt.Sprint("d", d)), 0o755); err != nil {
				return err
			}
		}
	}
	for name := range had.files {
		if _, ok := c.files[name]; !ok {
			if err := os.Remove(filepath.Join(top, name)); err != nil {
				return err
			}
		}
	}
	for name, f := range c.files {
		if had.files[name] == f {
			continue
		}
		path := filepath.Join(top, name)
		data := random(fmt.Sprint("crop ", f.seed), 2000+f.seed*37777%150_000)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		if err := os.Chtimes(path, cropTime(f.step), cropTime(f.step)); err != nil {
			return err
		}
	}
	return filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chtimes(path, cropTime(c.step), cropTime(c.step))
		}
		return err
	})
}

func cropTime(step int) time.Time { return cropBegan.Add(time.Duration(step) * time.Minute) }
