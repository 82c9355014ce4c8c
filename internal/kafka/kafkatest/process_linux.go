package kafkatest

import "syscall"

// dieWithParent ends the process if the test binary is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
