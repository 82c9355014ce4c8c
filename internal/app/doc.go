// Package app puts the program together: it reads the configuration, wires the packages below it into one process, serves
// metrics, probes and status, and holds the bodies of the commands. Nothing below imports it.
package app
