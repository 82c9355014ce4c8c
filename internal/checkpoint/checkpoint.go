// Package checkpoint is the checkpoint file: it stores on local disk what was published and how far reading has come, as one small
// value for each entity and one record of progress for each unit. It knows ids, bytes and times; its callers know what they mean.
//
// The file is a bbolt database, of format 3. Keys and buckets are nested like this; times are UTC, numbers big-endian:
//
//	meta
//	  format                    uvarint: 3
//	  clean                     byte 1: the file was closed cleanly; deleted while it is open
//	  boot                      text: the boot of the machine during which the file was open without syncing; else missing
//	identity
//	  <name>                    record about the file as a whole
//	accounts
//	  <account id>
//	    progress
//	      <name>                record of the account
//	    days
//	      <day>                 4 bytes: days since 1970-01-01 of the entities' anchors
//	        <key>               value of an entity, or of a dead letter, whose value is empty
//
// The key of an entity within its day, 14 bytes:
//
//	+--------+------+
//	| prefix | hash |      prefix  minute of the day, below 1440; 0xfffe for dead letters; 0xffff for shared entities
//	+--------+------+      hash    the first 96 bits of the entity's id, or of the dead letter's hash
//	 2 bytes    12
//
// Every record and every value of an entity, except those in meta, begins with a checksum:
//
//	+-----+-------+
//	| crc | value |        crc     CRC-32C of where the value belongs and of the value: for an entity of the day and the key as
//	+-----+-------+                above, for a record of the account id (empty in identity), a byte 0 and the name
//	   4
//
// The sequence number of the bucket of a day, which bbolt stores with the bucket, describes the day:
//
//	+---------+----------+
//	| touched | entities | touched   hours since 1970 of the last time that anything of the day was observed
//	+---------+----------+ entities  how many keys the bucket has
//	     4         4
//
// A build opens only files of its own format. It leaves others as they are and returns ErrFormat; there is no migration.
//
// Keys start with time (see Key), a day is forgotten by deleting its bucket (see Store.Expire), and a commit is one transaction with
// one sync of the disk. A commit is a value, Changes, so that it can also travel in another form and be applied to another file.
//
// # What is assumed of the disk
//
//   - A write that was synced stays, and a sync that failed returns an error. Where a disk, or what virtualizes it, confirms syncs
//     that it has not done, a loss of power can undo commits that had returned.
//   - bbolt writes a commit's pages, syncs, writes one of two meta pages, and syncs again. A meta page may be torn by a crash: its
//     checksum tells, and the other one then counts. Other pages may be torn only if they are of a commit that had not finished.
//   - flock works between all processes that can open the file, and one machine at a time mounts the disk. On network disks either
//     may be false.
//   - The directory can be synced, and a rename within it is atomic.
//
// With Options.NoSync nothing is assumed until Close: if the machine went down before, Open finds boot, and the file counts as damaged.
//
// # What is detected, and what is not
//
// Open reads a file that was not closed cleanly completely, and of every other file the outline (see checkFile); files of up to 32 MiB
// always completely. Whatever is read later is checked when it is read. A changed byte is found in a page's structure, in an entity, in
// a record, and in a name of a bucket; ErrDamaged says so. These losses cannot be detected from the file alone:
//
//   - A file that is replaced by an older copy of itself, or a disk that lost the last commits as a whole: it is sound, and what it lacks
//     is published again. With transactions, the checkpoint topic tells, because the file then ends before the topic does.
//   - A value that was changed together with its checksum, or by chance to one that has the same: 1 of 2^32 changes.
//   - touched and entities have no checksum. If touched is wrong, a day is forgotten too early or too late. If entities is wrong, so are
//     the statistics, and a replay that deletes slots of the day may delete the day too early, or leave it empty.
//   - A page that becomes bad after Open has checked it, until it is read. bbolt reads the file through a memory map: where that faults,
//     or bbolt panics, the store returns ErrDamaged for good and does not end the process.
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
	"sync"
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
	keyBoot   = []byte("boot")
)

// fillPercent is how full pages stay when bbolt splits them. Keys arrive nearly in order, so that free room in the earlier page would
// stay free.
const fillPercent = 0.9

// Options for Open. The zero value is ready for use.
type Options struct {
	// LockTimeout limits how long Open waits for another process to release the file. 0 means 5 seconds.
	LockTimeout time.Duration
	// NoSync leaves syncing to the operating system, for a file that can be made again. If the machine goes down before Close, the
	// file counts as damaged.
	NoSync bool
}

// Store is an open checkpoint file. It is safe for concurrent use; commits run one after another.
type Store struct {
	path   string
	db     *bolt.DB
	file   *os.File
	broken atomic.Bool // bbolt met damage; what it holds in memory cannot be trusted any more
	closed atomic.Bool
	failed atomic.Pointer[Failure] // nil while it can be written
	absent absence

	writing sync.Mutex   // held by what writes to the file or to the stage
	mu      sync.RWMutex // guards the stage, but not what it holds of an account; to change it, a goroutine holds writing too
	stage   stage
	late    *time.Timer // flushes the stage; guarded by writing
}

// Open opens the file at path, or creates it and the directories that are missing. It holds the file's lock until Close. Open checks
// the whole file if it was not closed cleanly, and otherwise its outline.
//
// Errors wrap ErrLocked, ErrDamaged, ErrFormat, ErrFull, ErrReadOnly or ErrDisk.
func Open(path string, options Options) (*Store, error) {
	s, _, err := open(path, options, false)
	return s, err
}

// OpenOrSetAside is Open, but renames a damaged file to <path>.damaged-<time> and creates a new one. It returns the new name of the
// damaged file, or "" if there was no damage. The caller should report it, because everything that was stored is lost. A file of
// another format is not damaged and stays where it is.
func OpenOrSetAside(path string, options Options) (s *Store, setAside string, err error) {
	if s, setAside, err = open(path, options, true); setAside != "" {
		s, err = Open(path, options)
	}
	return s, setAside, err
}

// open returns the error that says what the damage is together with the name under which it has set the damaged file aside.
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
		setAside, failed = rename(path) // while the lock is held: afterwards path may be the new file of another process
		return errors.Join(err, failed)
	}
	err = s.guard("open", func() error {
		s.db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout: time.Second, // bbolt locks the file once more, which this process already holds
			NoSync:  options.NoSync, NoGrowSync: options.NoSync,
			// The map is faster than the array once expiry has freed many pages. The freelist stays on disk, although commits
			// are larger after an expiry: without it, Open would read the whole file to rebuild it, which is slow, in a goroutine
			// of bbolt's own, where a panic would end the process.
			FreelistType: bolt.FreelistMapType,
			// This is bbolt's only hook in Open. The file is locked and checked here, before bbolt reads it, and with the same
			// descriptor, so that no other process can replace it in between.
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

// prepare fills a new file, checks the format of an existing one, and deletes the mark of a clean close.
func (s *Store) prepare(noSync bool) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			if tx.Bucket(bucketIdentity) != nil || tx.Bucket(bucketAccounts) != nil {
				return damage("bucket meta is missing")
			}
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

// checkNames checks the names of the buckets in the accounts. A bucket with a wrong name would count as missing.
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

// bootID identifies a boot of the machine. It is empty where the system has no such id; then only the check of a file that was not
// closed cleanly can find damage.
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

// Close writes what is staged, marks the file as cleanly closed and releases it. It waits for calls that are under way.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.late != nil {
		s.late.Stop()
	}
	if s.broken.Load() {
		return s.abandon()
	}
	mark := s.guard("close", func() error {
		s.db.NoSync = false // the mark must not reach the disk before the data that it vouches for
		return s.db.Update(func(tx *bolt.Tx) error {
			if err := s.stage.write(tx); err != nil {
				return err
			}
			return tx.Bucket(bucketMeta).Put(keyClean, []byte{1})
		})
	})
	return errors.Join(mark, s.abandon())
}

// SetAside renames the file of a store that returned ErrDamaged, as OpenOrSetAside does, and closes the store. It returns the new name.
func (s *Store) SetAside() (string, error) {
	name, err := rename(s.path)
	if err != nil {
		return "", classify("set aside", s.path, err)
	}
	return name, s.Close()
}

// abandon releases the file and its lock. It does not close a bbolt that met damage, because after a panic bbolt may hold its own locks
// for ever. The memory map then stays until the process ends.
func (s *Store) abandon() error {
	if s.db != nil && !s.broken.Load() {
		return classify("close", s.path, s.db.Close())
	}
	if s.file == nil {
		return nil
	}
	return classify("close", s.path, release(s.file))
}

// view runs fn in a read transaction.
func (s *Store) view(op string, fn func(*bolt.Tx) error) error {
	if err := s.usable(op); err != nil {
		return err
	}
	return s.guard(op, func() error { return s.db.View(fn) })
}

// errUnchanged ends an update that has nothing to write, which saves the sync.
var errUnchanged = errors.New("nothing to write")

// update writes what is staged, and then runs fn in a write transaction as write does.
func (s *Store) update(op string, fn func(*bolt.Tx) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.flush(); err != nil {
		return err
	}
	return s.write(op, fn)
}

// write runs fn in a write transaction and commits it, unless fn returns an error. errUnchanged rolls back without being an error. The
// caller holds writing.
func (s *Store) write(op string, fn func(*bolt.Tx) error) error {
	if err := s.usable(op); err != nil {
		return err
	}
	wrote := true
	err := s.guard(op, func() error {
		err := s.db.Update(fn)
		if wrote = !errors.Is(err, errUnchanged); !wrote {
			return nil
		}
		return err
	})
	if wrote {
		s.noteWrite(err)
	}
	return err
}

// noteWrite notes whether the store could be written.
func (s *Store) noteWrite(err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		s.failed.Store(nil)
		return
	}
	now := time.Now().UTC()
	f := &Failure{Err: e, Since: now, Last: now, Count: 1}
	if was := s.failed.Load(); was != nil {
		f.Since, f.Count = was.Since, was.Count+1
	}
	s.failed.Store(f)
}

// Failing returns why the store could not be written the last time; nil if it could, or if nobody tried.
func (s *Store) Failing() *Failure { return s.failed.Load() }

// Probe writes what the store has already. It finds out whether a store can be written again into which nobody has anything to write;
// where there is little room, more than that may still be too much.
func (s *Store) Probe() error {
	return s.update("probe", probe)
}

func probe(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	return meta.Put(keyFormat, bytes.Clone(meta.Get(keyFormat)))
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

// guard runs fn and classifies its error. bbolt panics where pages contradict each other, and the memory map faults where the file has
// become shorter: both mean that the file is damaged, not that the program is wrong.
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
