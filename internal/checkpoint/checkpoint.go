// Package checkpoint remembers on local disk what has been published and how far reading has come: one small value per
// entity, one record of progress per endpoint and bot. It speaks ids, bytes and times; what they mean is its callers'
// business.
//
// The file is a bbolt database:
//
//	meta                                  format version, mark of a clean close
//	identity / name                       records about the file as a whole
//	accounts / account / progress / name  records written whole
//	accounts / account / days / day / key one bucket per day of the entities' anchors
//
// Keys lead with time (see Key), a day is forgotten by dropping its bucket (see Store.Expire), and a commit is one
// transaction with one sync of the disk. A commit is a value, Changes, so that it can also travel by other ways than a
// file and be applied here afterwards.
package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"agentassist-poller/internal/binform"
)

const format = 3

var (
	bucketMeta     = []byte("meta")
	bucketIdentity = []byte("identity")
	bucketAccounts = []byte("accounts")
	bucketProgress = []byte("progress")
	bucketDays     = []byte("days")

	keyFormat = []byte("format")
	keyClean  = []byte("clean")
	keyBoot   = []byte("boot") // in which run of the machine the file was open without syncing
)

// fillPercent is how full pages are left when they are split. Keys come nearly in order, so that room left free in the
// earlier page would stay free.
const fillPercent = 0.9

// Options for Open. The zero value is good.
type Options struct {
	// LockTimeout bounds the wait for another process to let go of the file. 0 means 5 seconds.
	LockTimeout time.Duration
	// NoSync leaves the syncing to the operating system, for a file that can be made again. After the machine went down without
	// Close, the file counts as damaged.
	NoSync bool
}

// Store is an open checkpoint file. It is safe for concurrent use; commits run one after another.
type Store struct {
	path   string
	db     *bolt.DB
	file   *os.File
	broken atomic.Bool // bbolt met damage: its memory is not to be trusted any more
	closed atomic.Bool
}

// Open opens the file at path, or creates it, and its directory if that is missing. It holds the file's lock until
// Close. A file that was not closed cleanly is read whole and checked before it is used; one that was, only in outline.
//
// Errors wrap ErrLocked, ErrDamaged, ErrFormat, ErrFull, ErrReadOnly or ErrDisk.
func Open(path string, options Options) (*Store, error) {
	s, _, err := open(path, options, false)
	return s, err
}

// OpenOrSetAside is Open, but renames a damaged file to <path>.damaged-<time> and begins a new one. It returns the new
// name of the damaged file, empty if there was no damage, for the caller to say so: what was remembered is lost with it.
// A file of another format is no damage and stays where it is.
func OpenOrSetAside(path string, options Options) (s *Store, setAside string, err error) {
	if s, setAside, err = open(path, options, true); setAside != "" {
		s, err = Open(path, options)
	}
	return s, setAside, err
}

// open returns the name under which it has set a damaged file aside, beside the error that says what the damage is.
func open(path string, options Options, mayRename bool) (_ *Store, setAside string, err error) {
	if options.LockTimeout <= 0 {
		options.LockTimeout = 5 * time.Second
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, "", classify("create directory", path, err)
	}
	s := &Store{path: path}
	renameDamaged := func(err error) error {
		if !mayRename || setAside != "" || !errors.Is(kindOf(err), ErrDamaged) {
			return err
		}
		var failed error
		setAside, failed = rename(path) // while the lock is held, lest it hit the new file of another process
		return errors.Join(err, failed)
	}
	err = s.guard("open", func() error {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: time.Second, // bbolt asks for a lock that is held already
			NoSync:  options.NoSync, NoGrowSync: options.NoSync,
			// The map is faster than the array once expiry has freed many pages. The freelist is kept on disk, although
			// that makes commits larger after an expiry, because bbolt otherwise rebuilds it in Open by reading the whole
			// file, in a goroutine of its own: slow to start, and a panic there would end the process.
			FreelistType: bolt.FreelistMapType,
			// The only hook that bbolt has in Open: the file is locked and checked before bbolt looks at it, with a single
			// descriptor, so that no other process comes in between.
			OpenFile: func(path string, _ int, mode os.FileMode) (*os.File, error) {
				if s.file, err = openLocked(path, mode, options.LockTimeout); err != nil {
					return nil, err
				}
				return s.file, renameDamaged(checkFile(s.file))
			},
		})
		if err != nil {
			return err
		}
		return s.prepare(options.NoSync)
	})
	if err == nil {
		return s, "", nil
	}
	return nil, setAside, errors.Join(renameDamaged(err), s.abandon())
}

// prepare creates what a new file lacks, checks the format of an older one, and takes away the mark of a clean close.
func (s *Store) prepare(noSync bool) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return &Error{Op: "open", Path: s.path, Kind: ErrFormat, Err: errors.New("it is a database of another program")}
			}
			if err := create(tx); err != nil {
				return err
			}
			meta = tx.Bucket(bucketMeta)
		}
		r := binform.NewReader(meta.Get(keyFormat))
		have := r.Uvarint()
		if err := r.Done(); err != nil {
			return damage("format version: %v", err)
		}
		if have != format {
			return &Error{Op: "open", Path: s.path, Kind: ErrFormat, Err: fmt.Errorf("it has format %d, this build reads %d", have, format)}
		}
		if tx.Bucket(bucketIdentity) == nil || tx.Bucket(bucketAccounts) == nil {
			return damage("bucket is missing")
		}
		if err := checkNames(tx.Bucket(bucketAccounts)); err != nil {
			return err
		}
		boot := bootID()
		if was := meta.Get(keyBoot); was != nil && meta.Get(keyClean) == nil && string(was) != boot {
			return damage("the machine went down while the file was open without syncing")
		}
		if err := meta.Delete(keyClean); err != nil {
			return err
		}
		if noSync {
			return meta.Put(keyBoot, []byte(boot))
		}
		return meta.Delete(keyBoot)
	})
}

// checkNames checks what the accounts consist of. A part of another name would be as if it were not there.
func checkNames(accounts *bolt.Bucket) error {
	return accounts.ForEachBucket(func(account []byte) error {
		return accounts.Bucket(account).ForEach(func(name, _ []byte) error {
			if !bytes.Equal(name, bucketProgress) && !bytes.Equal(name, bucketDays) {
				return damage("account %q has %q", account, name)
			}
			return nil
		})
	})
}

var bootFile = "/proc/sys/kernel/random/boot_id"

// bootID tells one run of the machine from the next. Where the system does not say, every run is like the other, and the check
// of a file that was not closed must find the damage.
func bootID() string {
	id, err := os.ReadFile(bootFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func create(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketIdentity, bucketAccounts} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMeta).Put(keyFormat, binary.AppendUvarint(nil, format))
}

// Close marks the file as cleanly closed and lets go of it. It waits for calls under way.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.broken.Load() {
		return s.abandon()
	}
	mark := s.guard("close", func() error {
		s.db.NoSync = false // the mark must not reach the disk before what it speaks of
		return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyClean, []byte{1}) })
	})
	return errors.Join(mark, s.abandon())
}

// SetAside closes a store that returned ErrDamaged and renames its file as OpenOrSetAside does. It returns the new name.
func (s *Store) SetAside() (string, error) {
	name, err := rename(s.path)
	if err != nil {
		return "", classify("set aside", s.path, err)
	}
	return name, s.Close()
}

// abandon lets go of the file and its lock. A bbolt that met damage is not asked to close, as it may hold locks of its own
// for ever after a panic; its mapping then stays until the process ends.
func (s *Store) abandon() error {
	if s.db != nil && !s.broken.Load() {
		return classify("close", s.path, s.db.Close())
	}
	if s.file == nil {
		return nil
	}
	return classify("close", s.path, release(s.file))
}

// view runs fn in a transaction that reads.
func (s *Store) view(op string, fn func(*bolt.Tx) error) error {
	if err := s.usable(op); err != nil {
		return err
	}
	return s.guard(op, func() error { return s.db.View(fn) })
}

// errUnchanged ends an update that has found nothing to write, which saves the sync.
var errUnchanged = errors.New("nothing to write")

// update runs fn in a transaction that writes, unless fn returns errUnchanged.
func (s *Store) update(op string, fn func(*bolt.Tx) error) error {
	if err := s.usable(op); err != nil {
		return err
	}
	return s.guard(op, func() error {
		if err := s.db.Update(fn); !errors.Is(err, errUnchanged) {
			return err
		}
		return nil
	})
}

func (s *Store) usable(op string) error {
	switch {
	case s.closed.Load():
		return &Error{Op: op, Path: s.path, Kind: ErrClosed}
	case s.broken.Load():
		return &Error{Op: op, Path: s.path, Kind: ErrDamaged}
	}
	return nil
}

// guard classifies the error of fn. bbolt panics where pages contradict each other, and the mapped file faults where it
// has become shorter; both mean a damaged file, not a fault of the program.
func (s *Store) guard(op string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damage("%v", r)
		}
		if err = classify(op, s.path, err); errors.Is(err, ErrDamaged) {
			s.broken.Store(true)
		}
	}()
	return fn()
}
