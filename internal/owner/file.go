package owner

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/kafka"
)

// A File is the checkpoint file of this process, under whichever delivery. In transactions it is a copy of what the checkpoint topic
// says of the partitions that were read here, and is set aside and made again from the topic when it is damaged or belongs to another
// Kafka. It is safe for concurrent use.
type File struct {
	path string
	copy bool // of the checkpoint topic: nothing is lost with it
	log  *slog.Logger

	mu    sync.Mutex
	store *checkpoint.Store // the open one, or after a failed replacement a closed one; never nil
}

// OpenFile opens the file that checkpoint.path names, for kafka.delivery. A damaged one is set aside.
func OpenFile(path, delivery string, log *slog.Logger) (*File, error) {
	f := &File{path: path, copy: delivery == kafka.ExactlyOnce, log: log}
	var err error
	f.store, err = f.open()
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Store returns the open store. It is closed, and every call of it fails, once the file has been replaced: take it once for what
// belongs together, and again after a failure.
func (f *File) Store() *checkpoint.Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store
}

// Close closes the store. Nothing may be using it.
func (f *File) Close() error { return f.Store().Close() }

func (f *File) open() (*checkpoint.Store, error) {
	store, setAside, err := checkpoint.OpenOrSetAside(f.path, checkpoint.Options{NoSync: f.copy})
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	switch {
	case setAside == "":
	case f.copy:
		f.log.Warn("the checkpoint file was damaged and has been set aside; it is made again from the checkpoint topic", "file", setAside)
	default:
		f.log.Error("the checkpoint file was damaged and has been set aside; what was remembered is lost, "+
			"so that time read again may be published again, with the same event ids", "file", setAside)
	}
	if f.copy {
		return store, nil
	}
	was, err := store.Identity(identityCluster)
	if err == nil && was != nil {
		err = fmt.Errorf("checkpoint file %s was written with kafka.delivery %s, which knows more than the file: "+
			"keep that delivery, or name a new checkpoint.path to go on from the last watermarks", f.path, kafka.ExactlyOnce)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// Records about the file as a whole. Those about a partition are in replay.go.
const (
	identityCluster = "cluster" // which Kafka it was written for
	identityTopic   = "topic"   // and which topic there, by its id: a new one of the same name is another
)

// match sets the file aside if it was written for another topic than the one it is to be brought up to date from. One that was
// written without transactions is for any.
func (f *File) match(topics *kafka.Topics) error {
	store := f.Store()
	for name, is := range identityOf(topics) {
		was, err := store.Identity(name)
		if err != nil {
			return err
		}
		if len(was) > 0 && string(was) != string(is) {
			return f.replace(store, topics, fmt.Sprintf("it was written for another Kafka: its %s is %s, not %s", name, was, is))
		}
	}
	return store.Commit(checkpoint.Changes{Identity: identityOf(topics)})
}

func identityOf(topics *kafka.Topics) map[string][]byte {
	return map[string][]byte{identityCluster: []byte(topics.Cluster), identityTopic: []byte(topics.CheckpointID)}
}

// replace sets the file aside and begins a new one, unless somebody else has done so since the store was asked for.
func (f *File) replace(store *checkpoint.Store, topics *kafka.Topics, why string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.store != store {
		return nil
	}
	file, err := store.SetAside()
	if err != nil {
		return err
	}
	f.log.Warn("the checkpoint file has been set aside; it is made again from the checkpoint topic", "file", file, "because", why)
	if store, err = f.open(); err != nil {
		return err
	}
	f.store = store
	return store.Commit(checkpoint.Changes{Identity: identityOf(topics)})
}
