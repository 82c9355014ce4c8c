// Package prometheustest evaluates the alerts and reads the dashboard as Prometheus does. It is a module of its own, so that Prometheus is no
// dependency of the poller.
package prometheustest
