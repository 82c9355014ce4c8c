// Package faultpoint names the instants at which a kill would hurt most, so that tests can end the process there. Built with
// the tag faultpoints, the process reads POLLER_FAULTPOINT=name:n and ends itself by SIGKILL when it reaches that point for
// the n-th time; name:n:stop only stops it, as SIGSTOP does. Built without it, which is how it is released, nothing of this is left.
package faultpoint

// The steps of taking a partition over and of a delivery, in their order. Without transactions, what is recorded on disk comes before
// BeforeEnd, and the watermarks after it.
const (
	TakeoverFenced = "takeover-fenced" // the owner before can do nothing more
	TakeoverSigned = "takeover-signed" // the end of what is to be replayed is known
	TakeoverReplay = "takeover-replay" // in the midst of reading it
	TakeoverApply  = "takeover-apply"  // in the midst of writing it to disk
	BeforeBegin    = "before-begin"    // the batch is encoded
	Snapshot       = "snapshot"        // the transaction is to carry a snapshot
	AfterProduce   = "after-produce"   // events are acknowledged, watermarks and checkpoint are not there yet
	BeforeEnd      = "before-end"      // all of it is acknowledged
	DuringEnd      = "during-end"      // while it is not known whether the transaction has ended
	BeforeDisk     = "before-disk"     // the transaction has ended
	DuringDisk     = "during-disk"     // the disk has been told, but not committed
)
