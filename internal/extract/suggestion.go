package extract

import (
	"slices"
	"strings"
	"time"

	"agentassist-poller/internal/events"
)

// shown is a list of suggestions and what became of them.
type shown struct {
	event *events.SuggestionShown
	used  []used
}

// used is a suggestion that was taken, opened or rated.
type used struct {
	event    *events.SuggestionUsed
	feedback *events.Feedback
	depth    int // of the object that the feedback was found in
}

const (
	searchBarEntry   = "SearchBarEntry"
	librarySelection = "LibrarySelection"
)

func (d *decoder) action() (action, bool) {
	var a action
	ok := d.object("agentActions[]", func(name string) {
		switch name {
		case "actionType":
			a.kind = d.text()
		case "action":
			a.search, a.shown = d.search()
		case "used":
			a.used = d.usedList(a.used)
		}
	})
	if a.search == nil && or(a.kind) == searchBarEntry {
		a.search = new(events.Search)
	}
	if a.search != nil {
		a.search.ActionType = a.kind
	}
	return a, ok
}

// search reads the action of an agentAction. What it displayed is nil where it says nothing of suggestions.
func (d *decoder) search() (*events.Search, *events.SuggestionShown) {
	e := new(events.Search)
	list := new(events.SuggestionShown)
	displayed := false
	if !d.object("action", func(name string) {
		switch name {
		case "searchPhrase":
			e.SearchPhrase = d.text()
		case "typingStartTime":
			e.TypingStartTime = d.time()
		case "executionStartTime":
			e.ExecutionStartTime = d.time()
		case "displayTime":
			e.DisplayTime = d.time()
		case "suggestionsShown":
			e.SuggestionsShown = d.strings()
		case "suggestionUsed":
			e.SuggestionUsed = d.integer()
		case "phraseInput":
			e.PhraseInput = d.text()
		case "correctionsPresented":
			e.CorrectionsPresented = d.integer()
		case "correctionsAccepted":
			e.CorrectionsAccepted = d.integer()
		case "countDisplayedAnswers":
			d.counts(list)
		case "suggestions":
			displayed = d.kind() != 'n'
			d.suggestions(list)
		}
	}) {
		return nil, nil
	}
	e.CountDialogTasks = list.CountDialogTasks
	e.CountFAQs = list.CountFAQs
	e.CountAnswers = list.CountAnswers
	e.CountFiles = list.CountFiles
	e.CountWebPages = list.CountWebPages
	e.CountFromNonNativeDataSource = list.CountFromNonNativeDataSource
	if !displayed {
		return e, nil
	}
	list.DisplayTime = e.DisplayTime
	return e, list
}

func (d *decoder) proactive() (shown, bool) {
	p := shown{event: new(events.SuggestionShown)}
	ok := d.object("proActiveSuggestions[]", func(name string) {
		switch name {
		case "utterance":
			p.event.Utterance = d.textOrJSON()
		case "displayTime":
			p.event.DisplayTime = d.time()
		case "countDisplayedAnswers":
			d.counts(p.event)
		case "suggestions":
			d.suggestions(p.event)
		case "used":
			p.used = d.usedList(p.used)
		}
	})
	return p, ok
}

func (d *decoder) counts(e *events.SuggestionShown) {
	d.object("countDisplayedAnswers", func(name string) {
		switch name {
		case "countDialogTasks":
			e.CountDialogTasks = d.integer()
		case "countFaqs":
			e.CountFAQs = d.integer()
		case "countAnswers":
			e.CountAnswers = d.integer()
		case "countFiles":
			e.CountFiles = d.integer()
		case "countWebPages":
			e.CountWebPages = d.integer()
		case "countFromNonNativeDataSource":
			e.CountFromNonNativeDataSource = d.integer()
		}
	})
}

// The lists of suggestions that upstream is known to give, in the order in which events carry them.
var suggestionLists = []string{"dialogs", "faqs", "answers", "web", "file"}

func (d *decoder) suggestions(e *events.SuggestionShown) {
	all := d.scratch[:0]
	d.object("suggestions", func(list string) {
		if !slices.Contains(suggestionLists, list) {
			d.drift.add("", d.path, list) // kept nevertheless
		}
		at := list + "[]"
		d.list(func() {
			if s, ok := d.suggestion(at, list); ok {
				all = append(all, s)
			}
		})
	})
	rank := func(list string) int {
		if i := slices.Index(suggestionLists, list); i >= 0 {
			return i
		}
		return len(suggestionLists)
	}
	slices.SortStableFunc(all, func(a, b events.ShownSuggestion) int {
		if a.List == b.List {
			return 0
		}
		if ra, rb := rank(a.List), rank(b.List); ra != rb {
			return ra - rb
		}
		return strings.Compare(a.List, b.List)
	})
	e.Suggestions = append(e.Suggestions, all...)
	d.scratch = all
}

func (d *decoder) suggestion(at, list string) (events.ShownSuggestion, bool) {
	s := events.ShownSuggestion{List: list}
	if d.kind() == '"' {
		s.Content = d.text()
		return s, s.Content != nil
	}
	ok := d.object(at, func(name string) {
		switch name {
		case "positionId":
			s.PositionID = d.text()
		case "name":
			s.Name = d.text()
		case "content":
			s.Content = d.textOrJSON()
		case "internalFlag":
			s.InternalFlag = d.boolean()
		case "sources":
			d.list(func() {
				var source events.ShownSource
				if d.object("sources[]", func(name string) {
					switch name {
					case "title":
						source.Title = d.text()
					case "url":
						source.URL = d.text()
					case "sourceType":
						source.SourceType = d.text()
					}
				}) {
					s.Sources = append(s.Sources, source)
				}
			})
		case "appInfo":
			d.object("appInfo", func(name string) {
				switch name {
				case "_id":
					s.AppID = d.text()
				case "appName":
					s.AppName = d.text()
				case "featureFlag":
					s.AppFeatureFlag = d.text()
				case "product":
					s.AppProduct = d.text()
				case "displayLines":
					s.AppDisplayLines = d.integer()
				}
			})
		}
	})
	return s, ok
}

func (d *decoder) usedList(list []used) []used {
	d.list(func() {
		u := used{event: new(events.SuggestionUsed)}
		if d.object("used[]", func(name string) {
			switch name {
			case "targetType":
				u.event.TargetType = or(d.text())
			case "target":
				u.event.TargetJSON = d.target(name, &u, 1)
			case "feedback":
				u.rate(d.feedback(), 0)
			}
		}) {
			if targetTypes[u.event.TargetType] {
				u.event.TargetJSON = nil
			}
			list = append(list, u)
		}
	})
	return list
}

// The types of targets whose fields are all known.
var targetTypes = map[string]bool{"DialogTask": true, "FAQ": true, "Answer": true, "File": true, "WebPage": true, "GeneralDataSource": true}

// nestedTargets are the names under which later versions of the API nest the target once more, and what lies there.
var nestedTargets = map[string]string{
	"answer": "Answer", "faq": "FAQ", "webpage": "WebPage", "webPage": "WebPage", "file": "File",
	"general-data-source": "GeneralDataSource", "generalDataSource": "GeneralDataSource",
	"dialogTask": "DialogTask", "dialog": "DialogTask",
}

// target reads a target, flat or nested, and returns it as JSON.
func (d *decoder) target(at string, u *used, depth int) *string {
	e := u.event
	start := d.next()
	if !d.object(at, func(name string) {
		if kind, nested := nestedTargets[name]; nested && depth == 1 && d.kind() != '"' {
			if e.TargetType == "" {
				e.TargetType = kind
			}
			d.target(name, u, depth+1)
			return
		}
		switch name {
		case "positionId":
			e.PositionID = d.text()
		case "status":
			e.Status = d.text()
		case "usedTime":
			e.UsedTime = d.time()
		case "showMoreClicked", "showmoreClicked":
			e.ShowMoreClicked = d.boolean()
		case "internalInfoMoreClicked":
			e.InternalInfoMoreClicked = d.boolean()
		case "answerLinkClicked":
			d.links(func(url *string, _ *time.Time) { e.AnswerLinkClicked = append(e.AnswerLinkClicked, or(url)) })
		case "linksClicked":
			d.links(func(url *string, at *time.Time) {
				e.LinksClicked = append(e.LinksClicked, events.UsedLink{URL: url, Timestamp: at})
			})
		case "name":
			e.DialogName = d.text()
		case "runType":
			e.RunType = d.text()
		case "startTime":
			e.DialogStartTime = d.time()
		case "endTime":
			e.DialogEndTime = d.time()
		case "suggestionsCount", "SuggestionsCount":
			d.promptCounts(name, e)
		case "title":
			e.Title = d.text()
		case "url":
			e.URL = d.text()
		case "path":
			e.Path = d.text()
		case "connector":
			e.Connector = d.text()
		case "uri":
			e.URI = d.text()
		case "feedback":
			u.rate(d.feedback(), depth)
		}
	}) {
		return nil
	}
	if targetTypes[e.TargetType] {
		return nil
	}
	return d.canonical(start)
}

func (d *decoder) promptCounts(at string, e *events.SuggestionUsed) {
	d.object(at, func(name string) {
		switch name {
		case "askCustomer", "askSuggestions":
			e.AskSuggestions = d.integer()
		case "tellCustomer", "tellSuggestions":
			e.TellSuggestions = d.integer()
		case "askUsed":
			e.AskUsed = d.integer()
		case "tellUsed":
			e.TellUsed = d.integer()
		}
	})
}

// rate keeps the feedback that lies deepest: it is the one about the target itself.
func (u *used) rate(f *events.Feedback, depth int) {
	if f != nil && (u.feedback == nil || depth >= u.depth) {
		u.feedback, u.depth = f, depth
	}
}

func (d *decoder) sightAction(a action, segment string) {
	if a.search == nil {
		d.sightUsed(a.used, "LIBRARY", a.kind, segment, d.at)
		return
	}
	e := a.search
	e.Via = "SEARCH_BAR"
	at := moment{}.
		or(e.ExecutionStartTime, "agentActions[].action.executionStartTime").
		or(e.TypingStartTime, "agentActions[].action.typingStartTime").
		or(e.DisplayTime, "agentActions[].action.displayTime").
		orOf(d.at)
	var id string
	switch segmentID := or(d.head.SegmentID); {
	case e.ExecutionStartTime != nil:
		id = d.entity(events.TypeSearch, segmentID, stamp(e.ExecutionStartTime))
	case e.TypingStartTime != nil:
		id = d.entity(events.TypeSearch, segmentID, "typing", stamp(e.TypingStartTime))
	case e.DisplayTime != nil:
		id = d.entity(events.TypeSearch, segmentID, "display", stamp(e.DisplayTime))
	default:
		id = d.entity(events.TypeSearch, segmentID, "phrase", or(e.SearchPhrase))
	}
	d.sight(e, id, at)
	if a.shown != nil {
		list := a.shown
		list.Kind = "SEARCH"
		list.SearchEntityID = d.texts.put(id)
		parts := []string{or(d.head.SegmentID), list.Kind, stamp(list.DisplayTime)}
		if list.DisplayTime == nil {
			parts = []string{or(d.head.SegmentID), list.Kind, "search", id}
		}
		d.sight(list, d.entity(events.TypeSuggestionShown, parts...), moment{}.or(list.DisplayTime, "agentActions[].action.displayTime").orOf(at))
	}
	d.sightUsed(a.used, "SEARCH", a.kind, id, at)
}

func (d *decoder) sightShown(e *events.SuggestionShown, uses []used) {
	e.Kind = "PROACTIVE"
	parts := []string{or(d.head.SegmentID), e.Kind, stamp(e.DisplayTime)}
	if e.DisplayTime == nil {
		parts = []string{or(d.head.SegmentID), e.Kind, "utterance", or(e.Utterance)}
	}
	id := d.entity(events.TypeSuggestionShown, parts...)
	at := moment{}.or(e.DisplayTime, "proActiveSuggestions[].displayTime").orOf(d.at)
	d.sight(e, id, at)
	d.sightUsed(uses, "PROACTIVE", nil, id, at)
}

func (d *decoder) sightUsed(uses []used, via string, actionType *string, parent string, at moment) {
	for _, u := range inOrder(uses, func(u used) *time.Time { return u.event.DialogStartTime }) {
		e := u.event
		e.Via, e.ActionType, e.ParentEntityID = via, actionType, d.texts.put(parent)
		at := moment{}.or(e.UsedTime, "used[].target.usedTime").or(e.DialogStartTime, "used[].target.startTime").orOf(at)
		id := d.entity(events.TypeSuggestionUsed, append([]string{parent, strings.ToLower(e.TargetType)}, usedParts(e)...)...)
		d.sight(e, id, at)
		if f := u.feedback; f != nil {
			f.TargetType = e.TargetType
			f.TargetName = first(e.DialogName, e.Title, e.URL, e.Path, e.URI, e.Connector)
			f.PositionID = e.PositionID
			d.sightFeedback(f, id, at)
		}
	}
}

// usedParts says what was used. How and when it was used is not part of that: both are blank until it is sent.
func usedParts(e *events.SuggestionUsed) []string {
	switch {
	case e.PositionID != nil:
		return []string{*e.PositionID}
	case e.Title != nil:
		return []string{"title", *e.Title}
	case e.URL != nil:
		return []string{"url", *e.URL}
	case e.Path != nil:
		return []string{"path", *e.Path}
	case e.Connector != nil || e.URI != nil:
		return []string{"uri", or(e.Connector), or(e.URI)}
	case e.DialogName != nil || e.DialogStartTime != nil:
		return []string{"dialog", or(e.DialogName), stamp(e.DialogStartTime)}
	default:
		return nil
	}
}
