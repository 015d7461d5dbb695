package archive

import (
	"cairn/chunk"
	"cairn/pack"
)

func (r *renewable) Live(t chunk.Type, ids []chunk.ID, out []pack.ID) error {
	return r.do(func(i Index) error { return i.Live(t, ids, out) })
}
func (r *renewable) Condemn(record chunk.ID, packs []pack.ID) error {
	return r.do(func(i Index) error { return i.Condemn(record, packs) })
}
func (r *renewable) Noted(record chunk.ID) (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Noted(record); return err })
	return ok, err
}
func (r *renewable) Condemned(id pack.ID) (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Condemned(id); return err })
	return ok, err
}
func (r *renewable) Waits() (ok bool, err error) {
	err = r.do(func(i Index) (err error) { ok, err = i.Waits(); return err })
	return ok, err
}
func (r *renewable) Retire(segment pack.ID) error {
	return r.do(func(i Index) error { return i.Retire(segment) })
}
