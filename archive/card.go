package archive

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"cairn/chunk"
	"cairn/chunk/seal"
	"cairn/pack"
)

// CardName is the name of the card on its member.
const CardName = "cairn.json"

const (
	cardName    = CardName
	cardVersion = 1
	maxCard     = 64 << 10
	placement   = "rotate"

	// featureLayouts is in the card of an archive whose layout was changed: a build that knows one layout only would take
	// most of its packs for damaged, and must refuse it.
	featureLayouts = "layouts"
	// featureRetention is in the card of an archive whose objects are locked (Retention): a build that knows nothing of it would
	// store objects that anybody can delete.
	featureRetention = "retention"
	// maxFormer bounds the layouts that a card remembers: each is a place where every pack may have to be looked for.
	maxFormer = 64
)

// Card is a member's cairn.json (docs/format.md §2): which archive it belongs to, and which member it is.
type Card struct {
	Version   int        `json:"cairn"`
	Archive   string     `json:"archive"`
	Member    string     `json:"member"`
	Revision  int        `json:"revision,omitempty"` // how often the layouts or the retention were changed
	Layout    Layout     `json:"layout"`             // of new packs
	Former    []Layout   `json:"former,omitempty"`   // of packs made before, the newest first
	Retention *Retention `json:"retention,omitempty"`
	Chunker   Chunker    `json:"chunker"`
	Features  []string   `json:"features"`
	Created   string     `json:"created"`
	MAC       string     `json:"mac"`
}

// Layout says how packs are spread.
type Layout struct {
	Epoch     uint16   `json:"epoch"`
	Data      int      `json:"data"`
	Parity    int      `json:"parity"`
	Placement string   `json:"placement"`
	Members   []string `json:"members"`
}

// Chunker holds the public part of the chunking parameters; the polynomial comes from the keys.
type Chunker struct {
	Min  int `json:"min"`
	Max  int `json:"max"`
	Bits int `json:"bits"`
}

// parseCard reads and checks a card as far as it can be checked without a key.
func parseCard(data []byte) (*Card, error) {
	if len(data) > maxCard {
		return nil, fmt.Errorf("card of %d bytes is longer than %d", len(data), maxCard)
	}
	var c Card
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&c); err != nil {
		return nil, fmt.Errorf("not a member card: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a member card: something follows it")
	}
	if c.Version != cardVersion {
		return nil, fmt.Errorf("archive format %d is not known to this version of cairn (it knows %d)", c.Version, cardVersion)
	}
	if unknown := slices.DeleteFunc(slices.Clone(c.Features), func(f string) bool { return f == featureLayouts || f == featureRetention }); len(unknown) > 0 {
		return nil, fmt.Errorf("archive uses features that this version of cairn does not know: %s", strings.Join(unknown, ", "))
	}
	if _, err := c.archiveID(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &c, nil
}

// agrees says whether two cards tell the same of everything but the member itself.
func (c *Card) agrees(o *Card) bool {
	return c.Archive == o.Archive && c.Created == o.Created && c.Chunker == o.Chunker && slices.Equal(c.Features, o.Features) &&
		c.Revision == o.Revision && c.Retention.equal(o.Retention) && slices.EqualFunc(c.layouts(), o.layouts(), Layout.equal)
}

func (l Layout) equal(o Layout) bool {
	return l.Epoch == o.Epoch && l.Data == o.Data && l.Parity == o.Parity && l.Placement == o.Placement && slices.Equal(l.Members, o.Members)
}

// layouts lists all layouts, the current one first.
func (c *Card) layouts() []Layout { return append([]Layout{c.Layout}, c.Former...) }

// members lists the ids of the members of all layouts, each once, those of the current one first and in its order.
func (c *Card) members() []string {
	var ids []string
	seen := map[string]bool{}
	for _, l := range c.layouts() {
		for _, id := range l.Members {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// check refuses what the format does not allow.
func (c *Card) check() error {
	if len(c.Former) > maxFormer {
		return fmt.Errorf("card has %d former layouts, at most %d are allowed", len(c.Former), maxFormer)
	}
	if c.Revision < 0 || c.Revision > math.MaxInt32 || !slices.Equal(c.Features, c.features()) || c.Revision == 0 && len(c.Former) > 0 {
		return fmt.Errorf("card of revision %d with features %q and %d former layouts", c.Revision, c.Features, len(c.Former))
	}
	if err := c.Retention.check(); err != nil {
		return err
	}
	epochs := map[uint16]bool{}
	for _, l := range c.layouts() {
		if err := l.check(); err != nil {
			return err
		}
		if epochs[l.Epoch] {
			return fmt.Errorf("card has two layouts of epoch %d", l.Epoch)
		}
		epochs[l.Epoch] = true
	}
	if n := len(c.members()); n > maxMembers {
		return fmt.Errorf("card names %d members in all its layouts, at most %d are allowed", n, maxMembers)
	}
	if !slices.Contains(c.members(), c.Member) {
		return fmt.Errorf("card's own member id %.40q is not among its members", c.Member)
	}
	p := c.params(0)
	p.Poly = 0x3DA3358B4DC173 // any valid one: only the sizes are checked here
	return p.Validate()
}

func (l Layout) check() error {
	if l.Placement != placement {
		return fmt.Errorf("placement %.40q is not known to this version of cairn", l.Placement)
	}
	if err := l.geometry().Validate(); err != nil {
		return err
	}
	if len(l.Members) != l.Data+l.Parity {
		return fmt.Errorf("card names %d members for %d+%d shards", len(l.Members), l.Data, l.Parity)
	}
	seen := map[string]bool{}
	for _, m := range l.Members {
		if raw, err := hex.DecodeString(m); err != nil || len(raw) != 16 || hex.EncodeToString(raw) != m || seen[m] {
			return fmt.Errorf("card's member id %.40q is malformed or occurs twice", m)
		}
		seen[m] = true
	}
	return nil
}

func (l Layout) geometry() pack.Geometry {
	return pack.Geometry{K: l.Data, M: l.Parity, Epoch: l.Epoch}
}

func (c *Card) archiveID() (seal.ArchiveID, error) { return seal.ParseArchiveID(c.Archive) }

// number is the member's place in the current layout, or -1.
func (c *Card) number() int { return slices.Index(c.Layout.Members, c.Member) }

func (c *Card) geometry() pack.Geometry { return c.Layout.geometry() }

func (c *Card) params(poly uint64) chunk.Params {
	return chunk.Params{Poly: poly, Min: c.Chunker.Min, Max: c.Chunker.Max, Bits: c.Chunker.Bits}
}

// macLines is the message that the card's MAC covers.
func (c *Card) macLines() []byte {
	var b bytes.Buffer
	for _, s := range []any{"cairn/v1/card", c.Archive, c.Member, c.Layout.Epoch, c.Layout.Data, c.Layout.Parity,
		c.Layout.Placement, strings.Join(c.Layout.Members, ","), c.Chunker.Min, c.Chunker.Max, c.Chunker.Bits,
		strings.Join(c.Features, ","), c.Created} {
		fmt.Fprintf(&b, "%v\n", s)
	}
	if c.Revision > 0 {
		fmt.Fprintf(&b, "%d\n", c.Revision)
	}
	for _, l := range c.Former {
		fmt.Fprintf(&b, "%d\n%d\n%d\n%s\n%s\n", l.Epoch, l.Data, l.Parity, l.Placement, strings.Join(l.Members, ","))
	}
	if c.Retention != nil {
		fmt.Fprintf(&b, "retention\n%s\n%d\n", c.Retention.Mode, c.Retention.Seconds)
	}
	return b.Bytes()
}

// features lists what a reader has to know to read the card.
func (c *Card) features() []string {
	list := []string{}
	if c.Revision > 0 {
		list = append(list, featureLayouts)
	}
	if c.Retention != nil {
		list = append(list, featureRetention)
	}
	return list
}

func (c *Card) sign(k *seal.Keys) {
	mac := k.CardMAC(c.macLines())
	c.MAC = hex.EncodeToString(mac[:])
}

// verify checks the MAC: that nobody without a key changed the layout.
func (c *Card) verify(k *seal.Keys) error {
	want := k.CardMAC(c.macLines())
	if !hmac.Equal([]byte(c.MAC), []byte(hex.EncodeToString(want[:]))) {
		return fmt.Errorf("card of member %.8s is damaged or was changed by somebody without the key", c.Member)
	}
	return nil
}

func (c *Card) encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// newCards makes the cards of a fresh archive, one for each member.
func newCards(id seal.ArchiveID, k *seal.Keys, data, parity int, keep *Retention, p chunk.Params, now time.Time) ([]*Card, error) {
	n := data + parity
	members := make([]string, n)
	for i := range members {
		members[i] = seal.NewArchiveID().String() // 16 random bytes, as member ids are
	}
	cards := make([]*Card, n)
	for i := range cards {
		cards[i] = &Card{
			Version: cardVersion, Archive: id.String(), Member: members[i],
			Layout:    Layout{Epoch: 1, Data: data, Parity: parity, Placement: placement, Members: members},
			Retention: keep,
			Chunker:   Chunker{Min: p.Min, Max: p.Max, Bits: p.Bits},
			Created:   now.UTC().Format(time.RFC3339),
		}
		cards[i].Features = cards[i].features()
		if err := cards[i].check(); err != nil {
			return nil, err
		}
		cards[i].sign(k)
	}
	return cards, nil
}
