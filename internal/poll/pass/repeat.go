package pass

// pageIDs are the ids of the records of one page, readable or not.
type pageIDs map[string]struct{}

func idsOn(pg *Page) pageIDs {
	s := make(pageIDs, pg.records())
	for i := range pg.Rows {
		s[pg.Rows[i].ID] = struct{}{}
	}
	for i := range pg.Dead {
		s[deadID(&pg.Dead[i])] = struct{}{}
	}
	return s
}

// again reports whether most records of a page, whose ids are now, are among s. A short page may be so because the list has moved, so
// that callers ask only about full pages.
func (s pageIDs) again(pg *Page, now pageIDs) bool {
	n := 0
	for id := range now {
		if _, ok := s[id]; ok {
			n++
		}
	}
	return 2*n > pg.records()
}

// turn makes a page the page before, and reports whether most of its records were on that page already.
func (s *pageIDs) turn(pg *Page) bool {
	now := idsOn(pg)
	again := s.again(pg, now)
	*s = now
	return again
}
