package app

import (
	"errors"
	"fmt"
	"log/slog"

	"agentassist-poller/internal/checkpoint"
	"agentassist-poller/internal/kafka"
)

// openStore opens the checkpoint file. A damaged one is set aside: in transactions nothing is lost with it, as it is made again
// from the checkpoint topic.
func openStore(cfg *Config, log *slog.Logger) (*checkpoint.Store, error) {
	cache := cfg.Kafka.Delivery == kafka.ExactlyOnce
	store, setAside, err := checkpoint.OpenOrSetAside(cfg.Checkpoint.Path, checkpoint.Options{NoSync: cache})
	if err != nil {
		return nil, fmt.Errorf("open checkpoint: %w", err)
	}
	switch {
	case setAside == "":
	case cache:
		log.Warn("the checkpoint file was damaged and has been set aside; it is made again from the checkpoint topic", "file", setAside)
	default:
		log.Error("the checkpoint file was damaged and has been set aside; what was remembered is lost, "+
			"so that time read again may be published again, with the same event ids", "file", setAside)
	}
	if cache {
		return store, nil
	}
	was, err := store.Identity(identityCluster)
	if err == nil && was != nil {
		err = fmt.Errorf("checkpoint file %s was written with kafka.delivery %s, which knows more than the file: "+
			"keep that delivery, or name a new checkpoint.path to go on from the last watermarks", cfg.Checkpoint.Path, kafka.ExactlyOnce)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// Records about the checkpoint file as a whole.
const (
	identityCluster = "cluster" // which Kafka it was written for
	identityTopic   = "topic"   // and which topic there, by its id: a new one of the same name is another
	identityNext    = "next/"   // and the partition: the offset up to which the file holds what the topic says
	identityStart   = "start/"  // where the topic began then: if it begins later, somebody deleted records
)

// matchStore sets the checkpoint file aside if it was written for another topic than the one it is to be brought up to date
// from. One that was written without transactions is for any.
func (a *App) matchStore(topics *kafka.Topics) error {
	store := a.memory()
	was, err := identities(store, identityCluster, identityTopic)
	if err != nil {
		return err
	}
	for name, is := range identityOf(topics) {
		if was[name] != "" && was[name] != string(is) {
			return a.replaceStore(store, fmt.Sprintf("it was written for another Kafka: its %s is %s, not %s", name, was[name], is))
		}
	}
	return store.Commit(checkpoint.Changes{Identity: identityOf(topics)})
}

func identityOf(topics *kafka.Topics) map[string][]byte {
	return map[string][]byte{identityCluster: []byte(topics.Cluster), identityTopic: []byte(topics.CheckpointID)}
}

// replaceStore sets the checkpoint file aside and begins a new one, unless that has been done since the store was asked for.
func (a *App) replaceStore(store *checkpoint.Store, why string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.store != store {
		return nil
	}
	file, err := store.SetAside()
	if err != nil {
		return err
	}
	a.log.Warn("the checkpoint file has been set aside; it is made again from the checkpoint topic", "file", file, "because", why)
	if store, err = openStore(a.cfg, a.log); err != nil {
		return err
	}
	a.store = store
	return store.Commit(checkpoint.Changes{Identity: identityOf(a.publisher.Topics)})
}

func identities(store *checkpoint.Store, names ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, name := range names {
		record, err := store.Identity(name)
		if err != nil {
			return nil, err
		}
		out[name] = string(record)
	}
	return out, nil
}
