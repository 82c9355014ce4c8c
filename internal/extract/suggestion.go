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
	depth    int      // of the object that the feedback was found in
	unknown  []nested // objects in the target whose names say nothing: one of them may be the target itself
}

// nested is a target as an object of a name that is not known shows it.
type nested struct {
	name string
	used
}

func (p shown) contents() []events.Event {
	list := together(p.event)
	for _, u := range p.used {
		list = append(list, u.contents()...)
	}
	return list
}

func (u used) contents() []events.Event { return together(u.event, u.feedback) }

// taken returns when a suggestion was taken, which does not change once it was, and tells twins apart.
func (u used) taken() *time.Time { return first(u.event.DialogStartTime, u.event.UsedTime) }

const (
	searchBarEntry   = "SearchBarEntry"
	librarySelection = "LibrarySelection"
)

func (d *decoder) action() (action, bool) {
	var a action
	var unknown action
	ok := d.object("agentActions[]", func(name string) {
		switch name {
		case "actionType":
			a.kind = d.text()
		case "action":
			a.search, a.shown, a.told = d.search(name)
		case "used":
			a.used = d.usedList(a.used)
		default:
			if d.kind() == '{' { // what a new kind of action may call itself
				d.drift.add("", d.path, name)
				search, shown, told := d.search(name)
				if unknown.search == nil && search != nil && first(search.ExecutionStartTime, search.TypingStartTime, search.DisplayTime) != nil {
					unknown = action{search: search, shown: shown, told: told}
				}
			}
		}
	})
	if a.search == nil {
		a.search, a.shown, a.told = unknown.search, unknown.shown, unknown.told
	}
	if a.search == nil && or(a.kind) == searchBarEntry {
		a.search = new(events.Search)
	}
	if a.search != nil {
		a.search.ActionType = a.kind
	}
	return a, ok
}

// search reads the action of an agentAction, and what it displayed.
func (d *decoder) search(at string) (*events.Search, *events.SuggestionShown, phrases) {
	var told phrases
	e := new(events.Search)
	list := new(events.SuggestionShown)
	if !d.object(at, func(name string) {
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
			told.suggested = d.kind() != 'n'
			e.SuggestionsShown = d.strings()
		case "suggestionUsed":
			e.SuggestionUsed = d.integer()
		case "phraseInput":
			told.entered = d.kind() != 'n'
			e.PhraseInput = d.text()
		case "correctionsPresented":
			e.CorrectionsPresented = d.integer()
		case "correctionsAccepted":
			e.CorrectionsAccepted = d.integer()
		case "countDisplayedAnswers":
			d.counts(list)
		case "suggestions":
			d.suggestions(list)
		}
	}) {
		return nil, nil, told
	}
	e.CountDialogTasks = list.CountDialogTasks
	e.CountFAQs = list.CountFAQs
	e.CountAnswers = list.CountAnswers
	e.CountFiles = list.CountFiles
	e.CountWebPages = list.CountWebPages
	e.CountFromNonNativeDataSource = list.CountFromNonNativeDataSource
	list.DisplayTime = e.DisplayTime
	return e, list, told
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
	start := d.next()
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
	if ok && !slices.Contains(suggestionLists, list) {
		s.SuggestionJSON = d.canonical(start)
	}
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
			u.settle()
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

// settle decides about what the target shows only as a whole, once its type is known. A target of a type that nobody knows yet
// is nested as the known ones are, under a name of its own: what it shares with them is taken from there.
func (u *used) settle() {
	e := u.event
	known := targetTypes[e.TargetType]
	// An object of another name than the type's may be anything beside a target that speaks for itself.
	ours := func(n nested) bool { return sameName(n.name, e.TargetType) }
	found := slices.IndexFunc(u.unknown, ours)
	if found < 0 && !u.said() {
		found = slices.IndexFunc(u.unknown, func(n nested) bool { return n.said() || n.feedback != nil })
	}
	if found >= 0 {
		u.take(u.unknown[found])
		known = false
	}
	if known {
		e.TargetJSON = nil
	}
	u.unknown = nil
}

// said reports whether the target says of itself what was used or what became of it.
func (u *used) said() bool {
	e := u.event
	return first(e.PositionID, e.Status, e.Title, e.URL, e.Path, e.Connector, e.URI, e.DialogName) != nil || e.UsedTime != nil || e.DialogStartTime != nil
}

// take fills in what the nested object says and the target itself does not.
func (u *used) take(from nested) {
	e, o := u.event, from.event
	if e.TargetType == "" {
		e.TargetType = from.name
	}
	e.PositionID = first(e.PositionID, o.PositionID)
	e.Status = first(e.Status, o.Status)
	e.UsedTime = first(e.UsedTime, o.UsedTime)
	e.ShowMoreClicked = first(e.ShowMoreClicked, o.ShowMoreClicked)
	e.InternalInfoMoreClicked = first(e.InternalInfoMoreClicked, o.InternalInfoMoreClicked)
	e.DialogName = first(e.DialogName, o.DialogName)
	e.RunType = first(e.RunType, o.RunType)
	e.DialogStartTime = first(e.DialogStartTime, o.DialogStartTime)
	e.DialogEndTime = first(e.DialogEndTime, o.DialogEndTime)
	e.AskSuggestions = first(e.AskSuggestions, o.AskSuggestions)
	e.TellSuggestions = first(e.TellSuggestions, o.TellSuggestions)
	e.AskUsed = first(e.AskUsed, o.AskUsed)
	e.TellUsed = first(e.TellUsed, o.TellUsed)
	e.Title = first(e.Title, o.Title)
	e.URL = first(e.URL, o.URL)
	e.Path = first(e.Path, o.Path)
	e.Connector = first(e.Connector, o.Connector)
	e.URI = first(e.URI, o.URI)
	e.AnswerLinkClicked = append(e.AnswerLinkClicked, o.AnswerLinkClicked...)
	e.LinksClicked = append(e.LinksClicked, o.LinksClicked...)
	u.rate(from.feedback, from.depth)
}

// sameName reports whether two names differ in case and punctuation at most.
func sameName(a, b string) bool { return strings.EqualFold(plain.Replace(a), plain.Replace(b)) }

var plain = strings.NewReplacer("-", "", "_", "", " ", "")

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
		default:
			if depth == 1 && d.kind() == '{' {
				d.drift.add("", d.path, name) // read nevertheless
				inner := nested{name, used{event: new(events.SuggestionUsed)}}
				d.target(name, &inner.used, depth+1)
				u.unknown = append(u.unknown, inner)
			}
		}
	}) {
		return nil
	}
	if depth > 1 || targetTypes[e.TargetType] && len(u.unknown) == 0 {
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
	if f != nil && (u.feedback == nil || depth >= u.depth) && (f != unread || !given(u.feedback)) {
		u.feedback, u.depth = f, depth
	}
}

func (d *decoder) observeAction(a action, segment string) {
	if a.search == nil {
		d.observeUsed(a.used, "LIBRARY", a.kind, origin{parent: segment}, d.at)
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
	d.observe(e, id, at)
	from := origin{parent: id, search: d.texts.put(id), displayed: e.DisplayTime, asked: e.SearchPhrase}
	if a.shown != nil {
		from.offered = a.shown.Suggestions
	}
	if list := a.shown; list != nil && d.displayed(list) {
		list.Kind, list.SearchEntityID = "SEARCH", from.search
		parts := []string{or(d.head.SegmentID), list.Kind, stamp(list.DisplayTime)}
		if list.DisplayTime == nil {
			parts = []string{or(d.head.SegmentID), list.Kind, "search", id}
		}
		from.list = d.texts.put(d.entity(events.TypeSuggestionShown, parts...))
		d.observe(list, *from.list, moment{}.or(list.DisplayTime, "agentActions[].action.displayTime").orOf(at))
	}
	d.observeUsed(a.used, "SEARCH", a.kind, from, at)
}

func (d *decoder) observeShown(e *events.SuggestionShown, uses []used) {
	e.Kind = "PROACTIVE"
	parts := []string{or(d.head.SegmentID), e.Kind, stamp(e.DisplayTime)}
	if e.DisplayTime == nil {
		parts = []string{or(d.head.SegmentID), e.Kind, "utterance", or(e.Utterance)}
	}
	id := d.entity(events.TypeSuggestionShown, parts...)
	at := moment{}.or(e.DisplayTime, "proActiveSuggestions[].displayTime").orOf(d.at)
	from := origin{parent: id, displayed: e.DisplayTime, asked: e.Utterance, offered: e.Suggestions}
	if d.displayed(e) {
		from.list = d.texts.put(id)
		d.observe(e, id, at)
	}
	d.observeUsed(uses, "PROACTIVE", nil, from, at)
}

// displayed reports whether anything was displayed, and counts it.
func (d *decoder) displayed(e *events.SuggestionShown) bool {
	var total int64
	for _, n := range []*int64{e.CountDialogTasks, e.CountFAQs, e.CountAnswers, e.CountFiles, e.CountWebPages, e.CountFromNonNativeDataSource} {
		total += or(n)
	}
	if total <= 0 {
		total = int64(len(e.Suggestions))
	}
	e.CountTotal = d.ints.put(total)
	return total > 0
}

// origin is where a suggestion that was used comes from.
type origin struct {
	parent       string     // its identity depends on
	list, search *string    // the events; nil if there is none
	displayed    *time.Time // when the list was
	asked        *string    // what the list answers
	offered      []events.ShownSuggestion
}

// text returns what a list shows of the suggestion that is e, else what e is called.
func (o *origin) text(e *events.SuggestionUsed, name *string) *string {
	for i := range o.offered {
		if s := &o.offered[i]; e.PositionID != nil && s.PositionID != nil && *s.PositionID == *e.PositionID {
			return first(s.Content, s.Name, name)
		}
	}
	return name
}

func (d *decoder) observeUsed(uses []used, via string, actionType *string, from origin, at moment) {
	for _, u := range inOrder(uses, used.contents, used.taken) {
		e := u.event
		e.Via, e.ActionType, e.ParentEntityID = via, actionType, d.texts.put(from.parent)
		e.DisplayTime, e.ShownEntityID, e.SearchEntityID = from.displayed, from.list, from.search
		e.SetUsage(given(u.feedback))
		at := moment{}.or(e.UsedTime, "used[].target.usedTime").or(e.DialogStartTime, "used[].target.startTime").orOf(at)
		id := d.entity(events.TypeSuggestionUsed, append([]string{from.parent, strings.ToLower(e.TargetType)}, usedParts(e)...)...)
		d.observe(e, id, at)
		if f := saysOrNot(u.feedback); f != nil {
			f.TargetType = e.TargetType
			f.TargetName = first(e.DialogName, e.Title, e.URL, e.Path, e.URI, e.Connector)
			f.PositionID = e.PositionID
			about(f, from.text(e, f.TargetName), from.asked)
			d.observeFeedback(f, id, at)
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
