//go:build !linux

package kafkatest

import (
	"net"
	"syscall"
)

func dieWithParent() *syscall.SysProcAttr { return nil }

// freePort returns a port that nobody listened on a moment ago.
func freePort() (port int, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
