package journal

// Shrink makes compactions, parts and transactions so small that a test of a few hundred batches has many of each.
func (j *Journal) Shrink() {
	j.limits = limits{value: 300, compact: 2000, deltas: 20, snapshots: 1500, tombstones: 5}
}

// Shrink makes the replay write often.
func (r *Replay) Shrink() { r.maxEntities = 40 }
