// Package bagit knows bags (RFC 8493): a payload in data/, manifests with the digest of each of its files, and manifests of the manifests.
package bagit

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"cairn/agent/format"
)

var (
	kindDeclaration = format.Damage("declaration", "no tool takes it for a bag")
	kindNoManifest  = format.Damage("no-manifest", "nothing says what the payload should be: it cannot be verified")
	kindManifest    = format.Damage("manifest", "the line says nothing that can be verified, and the bag is not valid")
	kindDigest      = format.Damage("digest", "the content is not what was put in: it comes back damaged")
	kindMissing     = format.Damage("missing-file", "the bag is not complete: the file cannot be restored")
	kindExtra       = format.Damage("extra-file", "no manifest has it: the bag is not valid, and nothing says whether the file is what it should be")
	kindTag         = format.Damage("tag-digest", "a tag file or a manifest is not what was written: what it says of the payload cannot be trusted")
	kindOxum        = format.Damage("payload-oxum", "files were lost or added, or the bag was not written to its end")
	kindEscape      = format.Damage("path-escape", "who follows it reads or writes outside the bag: it was not opened")
	kindFetch       = format.Damage("fetch", "the bag has a hole that only the address fills, as long as that lives: fetch the file and put it in")
	kindAlgorithm   = format.Doubt("algorithm", "the manifest was not verified: its algorithm is not known here")
	kindFetched     = format.Doubt("fetch-listed", "everything is there; the address is no longer needed")
)

// bag is one bag that is verified.
type bag struct {
	*format.Run
	dir    string
	memory int64
}

// Look reads one bag, or all bags that are directly below the root.
func Look(r *format.Run) error {
	if r.Exists(path.Join(r.Root, declarationName)) {
		return (&bag{r, r.Root, r.Options.Memory}).verify()
	}
	bags := 0
	for _, d := range r.List(r.Root) {
		if dir := path.Join(r.Root, d.Name()); d.IsDir() && r.Exists(path.Join(dir, declarationName)) {
			bags++
			if err := (&bag{r, dir, r.Options.Memory}).verify(); err != nil {
				return err
			}
		}
	}
	if bags == 0 {
		r.Found(kindDeclaration, path.Join(r.Root, declarationName), "is missing, and there is no bag one level below either")
	}
	return r.Err()
}

const declarationName = "bagit.txt"

func (b *bag) verify() error {
	b.Count("bags", 1)
	b.declaration()
	payload, tags := b.manifests()
	listed := map[string]*format.Set{}
	for _, m := range payload {
		listed[m.name] = format.NewSet(b.memory / int64(len(payload)+len(tags)+1))
	}
	err := b.Parallel(func(do func(func())) {
		for _, m := range payload {
			b.manifest(m, listed[m.name], do)
		}
		for _, m := range tags {
			b.manifest(m, nil, do)
		}
	})
	if err != nil {
		return err
	}
	if len(payload) == 0 {
		b.Found(kindNoManifest, path.Join(b.dir, "manifest-sha512.txt"), "there is no manifest of the payload that can be read")
	}
	b.fetch()
	b.payload(payload, listed)
	return b.Err()
}

func (b *bag) declaration() {
	name := path.Join(b.dir, declarationName)
	data, err := b.Read(name, maxTagFile)
	if err != nil {
		b.Unreadable(name, err)
		return
	}
	fields := parseInfo(data)
	if v := fields["bagit-version"]; v == "" || strings.Trim(v, "0123456789.") != "" {
		b.Found(kindDeclaration, name, "has no line BagIt-Version")
	}
	if !strings.EqualFold(fields["tag-file-character-encoding"], "UTF-8") {
		b.Found(kindDeclaration, name, "the encoding of tag files is not UTF-8")
	}
}

// manifests finds manifest-ALGORITHM.txt and tagmanifest-ALGORITHM.txt.
func (b *bag) manifests() (payload, tags []manifest) {
	for _, d := range b.List(b.dir) {
		stem, isText := strings.CutSuffix(d.Name(), ".txt")
		algorithm, isTag := strings.CutPrefix(stem, "tagmanifest-")
		isPayload := false
		if !isTag {
			algorithm, isPayload = strings.CutPrefix(stem, "manifest-")
		}
		if !isText || !isTag && !isPayload || !b.Regular(b.dir, d) {
			continue
		}
		m := manifest{path.Join(b.dir, d.Name()), strings.ToLower(algorithm), isTag}
		switch {
		case newHash(m.algorithm) == nil:
			b.Found(kindAlgorithm, m.name, "algorithm %q is none of md5, sha1, sha224, sha256, sha384, sha512", algorithm)
		case isTag:
			tags = append(tags, m)
		default:
			payload = append(payload, m)
		}
	}
	return payload, tags
}

// manifest reads one manifest and gives each of its files to a worker.
func (b *bag) manifest(m manifest, listed *format.Set, do func(func())) {
	b.lines(m.name, func(number int, line string) {
		digest, file, err := parseLine(line)
		kind := kindManifest
		if err == nil {
			kind, err = kindEscape, checkPath(file, m.tag)
		}
		if err == nil && (len(digest) != hex.EncodedLen(newHash(m.algorithm).Size())) {
			kind, err = kindManifest, errors.New("the digest has not the length of "+m.algorithm)
		}
		if err != nil {
			b.Found(kind, m.name, "line %d: %v", number, err)
			return
		}
		if listed != nil {
			if _, there := listed.Add(format.NameKey(file), 0); there {
				b.Found(kindManifest, m.name, "line %d: %q is listed twice", number, format.Clip(file))
			}
		}
		do(func() { b.file(m, file, digest) })
	})
}

// file compares one file with the digest of a manifest.
func (b *bag) file(m manifest, file, digest string) {
	name := path.Join(b.dir, file)
	got, _, err := b.Digest(name, newHash(m.algorithm))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b.Found(kindMissing, name, "is missing; %s lists it", path.Base(m.name))
	case err != nil:
		b.Unreadable(name, err)
	case got != digest && m.tag:
		b.Found(kindTag, name, "its %s is %s, %s has %s", m.algorithm, got, path.Base(m.name), digest)
	case got != digest:
		b.Found(kindDigest, name, "its %s is %s, %s has %s", m.algorithm, got, path.Base(m.name), digest)
	}
}

// payload holds what is in data/ against the manifests and the Payload-Oxum.
func (b *bag) payload(manifests []manifest, listed map[string]*format.Set) {
	var files, size int64
	data := path.Join(b.dir, "data")
	if !b.IsDir(data) {
		b.Found(kindMissing, data, "the directory of the payload is missing")
	} else {
		b.Walk(data, func(name string) {
			files++
			if info, err := fs.Stat(b.FS, name); err == nil {
				size += info.Size()
			}
			file := name // as manifests have it
			if b.dir != "." {
				file = strings.TrimPrefix(name, b.dir+"/")
			}
			for _, m := range manifests {
				if _, there := listed[m.name].Get(format.NameKey(file)); !there && !listed[m.name].Full() {
					b.Found(kindExtra, name, "is not in %s", path.Base(m.name))
				}
			}
		})
	}
	b.Count("payload_files", files)
	b.Count("payload_bytes", size)
	for _, s := range listed {
		b.Incomplete(s, "files that no manifest has were not looked for")
	}
	name := path.Join(b.dir, "bag-info.txt")
	info, err := b.Read(name, maxTagFile)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			b.Unreadable(name, err)
		}
		return // the file may be left out
	}
	want := strconv.FormatInt(size, 10) + "." + strconv.FormatInt(files, 10)
	if oxum, there := parseInfo(info)["payload-oxum"]; there && oxum != want {
		b.Found(kindOxum, name, "Payload-Oxum is %s, and there are %s (bytes.files)", format.Clip(oxum), want)
	}
}

// fetch reads the list of files that were left out of the bag.
func (b *bag) fetch() {
	name := path.Join(b.dir, "fetch.txt")
	if !b.Exists(name) {
		return
	}
	b.lines(name, func(number int, line string) {
		url, length, file, err := parseFetch(line)
		switch {
		case err != nil:
			b.Found(kindManifest, name, "line %d: %v", number, err)
			return
		case checkPath(file, false) != nil:
			b.Found(kindEscape, name, "line %d: %v", number, checkPath(file, false))
			return
		}
		target := path.Join(b.dir, file)
		info, err := fs.Stat(b.FS, target)
		switch {
		case err != nil:
			b.Found(kindFetch, target, "is not in the bag but at %s", format.Clip(url))
		case length >= 0 && info.Size() != length:
			b.Found(kindFetch, target, "has %d bytes, %s says %d", info.Size(), name, length)
		default:
			b.Found(kindFetched, target, "is listed in fetch.txt and is there")
		}
	})
}
