package privacy

import (
	"reflect"
	"slices"
	"strings"

	"agentassist-poller/internal/events"
)

// A site is a field of a struct that holds personal data, or the way to such fields in a record or a list of records.
type site struct {
	index int    // of the field in the struct
	name  string // of the field in the schema; empty for the fields that all events have in common
	class Class
	mode  Mode
	json  bool   // the text is JSON, and remains JSON
	below []site // of the record; empty for a field that holds the data itself
}

// sitesOf returns the sites of a type, with the modes that mode returns for the paths and classes of fields. A path has the names of the schema.
func sitesOf(t events.Type, mode func(path string, class Class) Mode) []site {
	return sitesIn(reflect.TypeOf(events.New(t)).Elem(), "", mode)
}

func sitesIn(t reflect.Type, under string, mode func(string, Class) Mode) (sites []site) {
	for i := range t.NumField() {
		f := t.Field(i)
		path := under
		if !f.Anonymous {
			path += f.Tag.Get("avro")
		}
		if class := Class(f.Tag.Get("personal")); class != "" {
			sites = append(sites, site{index: i, name: f.Tag.Get("avro"), class: class, mode: mode(path, class), json: strings.HasSuffix(path, "_json")})
			continue
		}
		record := f.Type
		for record.Kind() == reflect.Pointer || record.Kind() == reflect.Slice {
			record = record.Elem()
		}
		if record.Kind() != reflect.Struct {
			continue
		}
		if !f.Anonymous {
			path += "."
		}
		if below := sitesIn(record, path, mode); len(below) > 0 {
			sites = append(sites, site{index: i, name: f.Tag.Get("avro"), below: below})
		}
	}
	return sites
}

// hidden returns how many fields are not kept.
func hidden(sites []site) (n int) {
	for _, s := range sites {
		if n += hidden(s.below); len(s.below) == 0 && s.mode != Keep {
			n++
		}
	}
	return n
}

// rewrite returns a copy of e with the texts at sites replaced by what change returns for them: "" empties a field, and leaves an item out of
// a list. Blank texts stay as they are. The copy shares with e what is not on the way to a site.
func rewrite(e events.Event, sites []site, change func(s *site, text string) string) events.Event {
	out := reflect.New(reflect.TypeOf(e).Elem())
	out.Elem().Set(reflect.ValueOf(e).Elem())
	rewriteRecord(out.Elem(), sites, change)
	return out.Interface().(events.Event)
}

func rewriteRecord(record reflect.Value, sites []site, change func(*site, string) string) {
	for i := range sites {
		s := &sites[i]
		rewriteField(record.Field(s.index), s, change)
	}
}

// rewriteField replaces the value of a field. What the value points to belongs to other events as well.
func rewriteField(v reflect.Value, s *site, change func(*site, string) string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(change(s, v.String()))
	case reflect.Struct:
		rewriteRecord(v, s.below, change)
	case reflect.Pointer:
		if v.IsNil() || v.Elem().Kind() == reflect.String && v.Elem().Len() == 0 {
			return
		}
		own := reflect.New(v.Type().Elem())
		own.Elem().Set(v.Elem())
		rewriteField(own.Elem(), s, change)
		if own.Elem().Kind() == reflect.String && own.Elem().Len() == 0 {
			own = reflect.Zero(v.Type())
		}
		v.Set(own)
	case reflect.Slice:
		if v.Len() == 0 {
			return
		}
		if texts, ok := v.Interface().([]string); ok {
			var own []string
			for _, text := range texts {
				if text == "" {
					own = append(own, text)
				} else if text = change(s, text); text != "" {
					own = append(own, text)
				}
			}
			v.Set(reflect.ValueOf(own))
			return
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		for i := range own.Len() {
			rewriteField(own.Index(i), s, change)
		}
		v.Set(own)
	}
}

// mentioned reports whether a field of a record has a text that match accepts, in a record decoded as maps and lists by the names of the schema.
func mentioned(record map[string]any, sites []site, match func(s *site, text string) bool) bool {
	for i := range sites {
		s := &sites[i]
		var value any = record
		if s.name != "" {
			value = record[s.name]
		}
		if mentionedIn(value, s, match) {
			return true
		}
	}
	return false
}

func mentionedIn(value any, s *site, match func(*site, string) bool) bool {
	switch value := value.(type) {
	case string:
		return match(s, value)
	case map[string]any:
		return mentioned(value, s.below, match)
	case []any:
		return slices.ContainsFunc(value, func(item any) bool { return mentionedIn(item, s, match) })
	}
	return false
}
