package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"
	"strings"
)

// damageError says what is wrong with a damaged file.
type damageError string

func (e damageError) Error() string { return string(e) }

func damage(format string, args ...any) error { return damageError(fmt.Sprintf(format, args...)) }

// Verify checks the whole file, which no store may have open. It returns an error that wraps ErrDamaged if the file is not sound.
func Verify(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return classify("verify", path, err)
	}
	defer f.Close()
	return classify("verify", path, checkPages(f, true))
}

// checkFile returns an error if bbolt cannot be trusted with the file. bbolt believes page numbers and counts: on a damaged file it panics
// (also in its own goroutines), follows cycles until the stack is full, or hands out pages that are in use.
//
// checkFile always checks the outline, where damage can have such effects: meta pages, freelist and the branch pages of every tree. It
// also checks the leaf pages with entities, 99 % of a large file, unless the file was closed cleanly.
func checkFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	return checkPages(f, info.Size() <= smallFile)
}

// smallFile is the size up to which a file is always checked completely, because that takes no time.
var smallFile = int64(32 << 20)

// The layout of bbolt's pages, version 2. Numbers are in the byte order of the machine.
const (
	headerSize  = 16 // of a page: id, flags, count, overflow
	elementSize = 16 // of an entry at the head of a branch or leaf page
	bucketSize  = 16 // of a bucket's value: root page, sequence
	metaSize    = 64

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

var order = binary.NativeEndian

// maxHeight limits the height of a tree. Every page but a root holds at least two keys, so that sound trees are far lower.
const maxHeight = 64

// entityDepth is how deep the buckets of days lie below the root bucket.
const entityDepth = 4

func checkPages(f *os.File, whole bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c := checker{file: f, size: info.Size(), whole: whole}
	if err := c.chooseMeta(); err != nil {
		return err
	}
	if err := c.freelist(); err != nil {
		return err
	}
	if err := c.tree(c.meta.root, 0, ""); err != nil {
		return err
	}
	if c.clean && !c.whole {
		return nil
	}
	for _, leaf := range c.unread {
		p, err := c.read(leaf.id)
		if err != nil {
			return err
		}
		if p.flags != flagLeaf {
			return damage("page %d is not a leaf", leaf.id)
		}
		if err := c.leaf(p, leaf.keys, entityDepth, leaf.path); err != nil {
			return err
		}
	}
	return c.complete()
}

// complete checks that every page is part of a tree or free. Otherwise a page number is wrong, and the pages behind it are lost.
func (c *checker) complete() error {
	for id := range c.meta.pages {
		if c.used[id/64]&(1<<(id%64)) == 0 {
			return damage("page %d belongs to nothing", id)
		}
	}
	return nil
}

type checker struct {
	file   io.ReaderAt
	size   int64
	whole  bool
	meta   meta
	used   []uint64 // bitmap of the pages in trees and in the freelist
	unread []child  // leaf pages that were skipped
	clean  bool     // the file has the mark of a clean close
	buffer []byte
}

type meta struct {
	pageSize             int64
	root, freelist       uint64
	pages, transactionID uint64
}

// chooseMeta finds the state that bbolt will open: the later of the two meta pages, of those that are valid.
func (c *checker) chooseMeta() error {
	m, ok := c.metaAt(0)
	// The second meta page lies one page into the file. If the first is invalid, only the second says how large a page is.
	for size := int64(1 << 10); size <= 1<<16; size <<= 1 {
		if other, valid := c.metaAt(size); valid && other.pageSize == size && (!ok || other.transactionID > m.transactionID) {
			m, ok = other, true
		}
	}
	switch {
	case !ok:
		return damage("no meta page is valid")
	case m.pageSize < 1<<10 || m.pageSize > 1<<16 || m.pages < 4 || m.pages > uint64(c.size/m.pageSize):
		return damage("file of %d bytes is too short for %d pages of %d bytes", c.size, m.pages, m.pageSize)
	}
	c.meta, c.used = m, make([]uint64, m.pages/64+1)
	return c.mark(0, 2)
}

func (c *checker) metaAt(offset int64) (meta, bool) {
	var b [metaSize]byte
	if _, err := c.file.ReadAt(b[:], offset+headerSize); err != nil {
		return meta{}, false
	}
	sum := fnv.New64a()
	sum.Write(b[:56])
	ok := order.Uint32(b[0:]) == metaMagic && order.Uint32(b[4:]) == metaVersion && order.Uint64(b[56:]) == sum.Sum64()
	return meta{
		pageSize:      int64(order.Uint32(b[8:])),
		root:          order.Uint64(b[16:]),
		freelist:      order.Uint64(b[32:]),
		pages:         order.Uint64(b[40:]),
		transactionID: order.Uint64(b[48:]),
	}, ok
}

// mark marks pages as used. None may be used twice.
func (c *checker) mark(id, count uint64) error {
	if id >= c.meta.pages || count > c.meta.pages-id {
		return damage("page %d is beyond the last one", id)
	}
	for ; count > 0; id, count = id+1, count-1 {
		if c.used[id/64]&(1<<(id%64)) != 0 {
			return damage("page %d is used twice", id)
		}
		c.used[id/64] |= 1 << (id % 64)
	}
	return nil
}

// page is a branch, leaf or freelist page with its overflow.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // from the header on
}

func parsePage(data []byte) page {
	return page{
		id:    order.Uint64(data),
		flags: order.Uint16(data[8:]),
		count: int(order.Uint16(data[10:])),
		data:  data,
	}
}

// overflow returns how many pages follow that belong to the page.
func (p page) overflow() uint32 { return order.Uint32(p.data[12:]) }

// read reads a page that is marked, and marks its overflow. The page is valid until the next read.
func (c *checker) read(id uint64) (page, error) {
	size := c.meta.pageSize
	var header [headerSize]byte
	if _, err := c.file.ReadAt(header[:], int64(id)*size); err != nil {
		return page{}, err
	}
	overflow := uint64(parsePage(header[:]).overflow())
	if overflow > 0 {
		if err := c.mark(id+1, overflow); err != nil {
			return page{}, err
		}
	}
	length := int64(overflow+1) * size
	if int64(cap(c.buffer)) < length {
		c.buffer = make([]byte, length)
	}
	if _, err := c.file.ReadAt(c.buffer[:length], int64(id)*size); err != nil {
		return page{}, err
	}
	p := parsePage(c.buffer[:length])
	if p.id != id {
		return page{}, damage("page %d says that it is page %d", id, p.id)
	}
	return p, nil
}

func (c *checker) freelist() error {
	if err := c.mark(c.meta.freelist, 1); err != nil {
		return err
	}
	p, err := c.read(c.meta.freelist)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return damage("page %d is not a freelist", p.id)
	}
	ids, count := p.data[headerSize:], uint64(p.count)
	if count == math.MaxUint16 && len(ids) >= 8 { // then the count is stored in place of the first id
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return damage("freelist of %d pages does not fit its page", count)
	}
	for i := range count {
		if err := c.mark(order.Uint64(ids[i*8:]), 1); err != nil {
			return fmt.Errorf("freelist: %w", err)
		}
	}
	return nil
}

// keyRange is a range of keys: from first, and before end unless end is empty.
type keyRange struct{ first, end []byte }

// child is a page below a branch page, as the branch page describes it.
type child struct {
	id   uint64
	keys keyRange
	path string // of the bucket
}

// tree checks the tree of a bucket that lies depth buckets below the root.
func (c *checker) tree(root uint64, depth int, path string) error {
	if err := c.mark(root, 1); err != nil {
		return err
	}
	_, err := c.subtree(child{id: root}, depth, path, maxHeight)
	return err
}

// subtree checks what is below a page that is marked, and reports whether the page is a leaf.
func (c *checker) subtree(top child, depth int, path string, height int) (isLeaf bool, err error) {
	if height == 0 {
		return false, damage("tree is too high at page %d", top.id)
	}
	p, err := c.read(top.id)
	if err != nil {
		return false, err
	}
	if p.flags != flagLeaf || depth < entityDepth {
		p.data = bytes.Clone(p.data) // pages below are read into the same buffer
	}
	switch p.flags {
	case flagLeaf:
		return true, c.leaf(p, top.keys, depth, path)
	case flagBranch:
		children, err := p.children(top.keys)
		if err != nil {
			return false, err
		}
		// All children of a page are of one kind, so that the first says what the others are.
		leaves := false
		for i, child := range children {
			if err := c.mark(child.id, 1); err != nil {
				return false, err
			}
			if leaves && depth == entityDepth && !c.whole {
				child.path = path
				c.unread = append(c.unread, child)
				continue
			}
			childIsLeaf, err := c.subtree(child, depth, path, height-1)
			if err != nil {
				return false, err
			}
			if i > 0 && childIsLeaf != leaves {
				return false, damage("page %d has children of two kinds", top.id)
			}
			leaves = childIsLeaf
		}
		return false, nil
	default:
		return false, damage("page %d is neither branch nor leaf", top.id)
	}
}

// children returns the pages below a branch page.
func (p page) children(keys keyRange) ([]child, error) {
	if p.count == 0 {
		return nil, damage("branch page %d is empty", p.id)
	}
	children := make([]child, 0, p.count)
	err := p.elements(keys, func(at int) (pos, keySize, valueSize uint32) {
		return order.Uint32(p.data[at:]), order.Uint32(p.data[at+4:]), 0
	}, func(at int, key, _ []byte) error {
		if len(children) > 0 {
			children[len(children)-1].keys.end = key
		}
		children = append(children, child{id: order.Uint64(p.data[at+8:]), keys: keyRange{key, keys.end}})
		return nil
	})
	return children, err
}

// leaf checks a leaf page and the trees of its buckets.
func (c *checker) leaf(p page, keys keyRange, depth int, path string) error {
	return p.elements(keys, func(at int) (pos, keySize, valueSize uint32) {
		return order.Uint32(p.data[at+4:]), order.Uint32(p.data[at+8:]), order.Uint32(p.data[at+12:])
	}, func(at int, key, value []byte) error {
		if path == "/"+string(bucketMeta) && bytes.Equal(key, keyClean) {
			c.clean = true
		}
		switch flags := order.Uint32(p.data[at:]); {
		case flags == 0:
			return checkValue(depth, path, key, value)
		case flags != 1 || len(value) < bucketSize || depth >= entityDepth:
			return damage("entry of page %d is neither value nor bucket", p.id)
		}
		if root := order.Uint64(value); root != 0 {
			return c.tree(root, depth+1, path+"/"+string(key))
		}
		if len(value) < bucketSize+headerSize {
			return damage("bucket inside page %d is cut off", p.id)
		}
		inline := parsePage(value[bucketSize:])
		// bbolt would take a number for that of a page of its own, and free that page when the bucket grows out of this one.
		if inline.flags != flagLeaf || inline.id != 0 || inline.overflow() != 0 {
			return damage("bucket inside page %d is not a leaf without a number", p.id)
		}
		return c.leaf(inline, keyRange{}, depth+1, path+"/"+string(key))
	})
}

// elements checks that the entries of a page are packed without gaps, and that their keys are not empty, ascend and are within their
// range. head decodes the entry at an offset. elements calls fn with the offset, the key and the value of each entry.
func (p page) elements(
	keys keyRange, head func(at int) (pos, keySize, valueSize uint32), fn func(at int, key, value []byte) error,
) error {
	next := uint64(headerSize + p.count*elementSize)
	if next > uint64(len(p.data)) {
		return damage("page %d is too short for %d entries", p.id, p.count)
	}
	var previous []byte
	for i := range p.count {
		at := headerSize + i*elementSize
		pos, keySize, valueSize := head(at)
		start := uint64(at) + uint64(pos)
		end := start + uint64(keySize) + uint64(valueSize)
		if start != next || end > uint64(len(p.data)) {
			return damage("entry %d of page %d is at the wrong place", i, p.id)
		}
		next = end
		key := p.data[start : start+uint64(keySize)]
		switch {
		case len(key) == 0 || i > 0 && bytes.Compare(previous, key) >= 0,
			bytes.Compare(key, keys.first) < 0, len(keys.end) > 0 && bytes.Compare(key, keys.end) >= 0:
			return damage("keys of page %d are not in order", p.id)
		}
		previous = key
		if err := fn(at, key, p.data[start+uint64(keySize):end]); err != nil {
			return err
		}
	}
	return nil
}

// checkValue checks a value in the bucket at a path, depth buckets below the root.
func checkValue(depth int, path string, key, value []byte) error {
	account, isProgress := strings.CutSuffix(strings.TrimPrefix(path, "/"+string(bucketAccounts)+"/"), "/"+string(bucketProgress))
	switch {
	case depth == entityDepth && len(key) == storedKeySize && len(path) > len(dayName(0)):
		_, err := unseal(binary.BigEndian.Uint32([]byte(path[len(path)-len(dayName(0)):])), storedKey(key), value)
		return err
	case depth == entityDepth:
		return damage("key of %d bytes", len(key))
	case depth == entityDepth-1 && isProgress:
		return checkRecord(account, string(key), value)
	case path == "/"+string(bucketIdentity):
		return checkRecord("", string(key), value)
	}
	return nil
}
