package secret

import (
	"fmt"
	"os"
	"time"
)

// A Source says where a secret is: in the configuration, or in a file that may be replaced while the process runs.
type Source struct {
	Text Secret
	File string // wins if it is set
}

// Read returns the secret as it is now. It reads the file every time, so that a new content counts from the next use on.
func (s Source) Read() (Secret, error) {
	if s.File == "" {
		return s.Text, nil
	}
	return FromFile(s.File)
}

// Advice returns what to check when others refuse the secret. setting is the name of the setting that holds the text; the name
// of the file's setting ends in _file.
func (s Source) Advice(setting string) string {
	if s.File == "" {
		return fmt.Sprintf("check %s, which is read at start only; with %s_file no restart is needed to change it", setting, setting)
	}
	changed := "cannot be looked at"
	if info, err := os.Stat(s.File); err == nil {
		changed = "has not changed since " + info.ModTime().UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("check the content of %s (%s_file), which %s; a new content is used at once, without a restart", s.File, setting, changed)
}
