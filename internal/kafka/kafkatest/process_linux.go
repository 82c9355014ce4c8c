package kafkatest

import (
	"errors"
	"os"
	"syscall"
)

// dieWithParent ends the process if the test binary is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// freePort returns a port that stays ours until the process ends: bound to a socket that does not listen, it is given to no
// connection and to nobody who asks for any port, while a server that names it may listen on it, as both of them set
// SO_REUSEADDR.
func freePort() (port int, err error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := errors.Join(
		os.NewSyscallError("bind", syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})),
		os.NewSyscallError("setsockopt", syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)),
	); err != nil {
		return 0, errors.Join(err, syscall.Close(socket))
	}
	addr, err := syscall.Getsockname(socket)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return addr.(*syscall.SockaddrInet4).Port, nil
}
