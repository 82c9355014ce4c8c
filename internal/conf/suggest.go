package conf

import (
	"reflect"
	"strings"
)

// suggest returns the key that an unknown key was probably meant to be: the one that the unknown key is a former name of (tag `was`), one
// of the section with nearly the same spelling, or one that belongs in a sibling section. meant is empty unless it is one of the section.
func suggest(wrong string, known []key) (meant, hint string) {
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = k.name
	}
	for _, k := range known {
		if k.field.Tag.Get("was") == wrong {
			return k.name, "; did you mean " + k.name + "?"
		}
	}
	if near := Nearest(wrong, names); near != "" {
		return near, "; did you mean " + near + "?"
	}
	for _, k := range known {
		t := section(k.field.Type)
		if t == nil {
			continue
		}
		for _, below := range keys(t) {
			if below.name == wrong || fold(k.name+below.name) == fold(wrong) {
				return "", "; did you mean " + below.name + " in the section " + k.name + "?"
			}
		}
	}
	return "", "; known here: " + strings.Join(names, ", ")
}

// section returns the struct that a setting holds, or is a list or table of.
func section(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Slice || t.Kind() == reflect.Pointer || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct && !isScalar(t) {
		return t
	}
	return nil
}

// Nearest returns the one of names that is close to what was written, "" if none is.
func Nearest(wrong string, names []string) string {
	best, bestDistance := "", max(1, len(wrong)/4)+1
	for _, name := range names {
		if d := distance(fold(wrong), fold(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// fold makes clientId, client-id and CLIENT_ID alike.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
