package events

import "strings"

// The values of SuggestionUsed.Usage.
const (
	UsageSent       = "SENT"
	UsageCopied     = "COPIED"
	UsageRun        = "RUN"
	UsageOpened     = "OPENED"
	UsageOverridden = "OVERRIDDEN"
	UsageRated      = "RATED"
	UsageUnknown    = "UNKNOWN"
)

// Accepted reports whether a usage says that a suggestion was accepted.
func Accepted(usage string) bool {
	return usage == UsageSent || usage == UsageCopied || usage == UsageRun
}

// SetUsage sets Usage from the fields that say what the agent did with the suggestion. Rated says that the agent gave feedback, which no
// field does.
func (e *SuggestionUsed) SetUsage(rated bool) {
	says := func(words ...string) bool {
		for _, said := range []*string{e.Status, e.UsedType} {
			for _, word := range words {
				if said != nil && strings.EqualFold(strings.TrimSpace(*said), word) {
					return true
				}
			}
		}
		return false
	}
	is := func(flag *bool) bool { return flag != nil && *flag }
	switch {
	case e.DialogStartTime != nil || !blank(e.RunType) || e.TargetType == "DialogTask":
		e.Usage = UsageRun
	case is(e.IsSent) || says("sent", "send"):
		e.Usage = UsageSent
	case is(e.IsCopied) || says("copied", "copy"):
		e.Usage = UsageCopied
	case is(e.ShowMoreClicked) || is(e.InternalInfoMoreClicked) || len(e.AnswerLinkClicked)+len(e.LinksClicked) > 0:
		e.Usage = UsageOpened
	case is(e.IsOverride) || says("overridden", "override"):
		e.Usage = UsageOverridden
	case rated:
		e.Usage = UsageRated
	default:
		e.Usage = UsageUnknown
	}
}
