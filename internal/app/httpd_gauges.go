package app

import (
	"time"

	"agentassist-poller/internal/conf"
	"agentassist-poller/internal/status"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges exports the status as metrics, so that an operator and an alert read the same numbers.
type gauges struct {
	status func() status.Status
}

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("poller_"+name, help, labels, nil)
}

var (
	perEndpoint = []string{"account", "endpoint", "bot"}

	accountRead        = gauge("account_read", "1 while this instance reads the account. Over all instances the highest should be 1.", "account")
	accountPaused      = gauge("account_paused", "1 while somebody has paused the account at this instance.", "account")
	endpointUp         = gauge("endpoint_up", "1 while the endpoint is read or waits, 0 while it fails, for a minute after, and while its account cannot be read.", perEndpoint...)
	endpointWaiting    = gauge("endpoint_waiting_seconds", "How long the endpoint has been waiting, by reason. Absent while it does not wait.", append(perEndpoint, "reason")...)
	endpointLag        = gauge("endpoint_lag_seconds", "Now less the time up to which everything has been read since reading began. Absent while nothing is known of the account.", perEndpoint...)
	endpointFirstRead  = gauge("endpoint_first_read_seconds", "History that is yet to be read for the first time. It is no gap.", perEndpoint...)
	endpointComplete   = gauge("endpoint_complete_up_to_timestamp_seconds", "The time up to which the events are declared complete.", perEndpoint...)
	endpointInterval   = gauge("endpoint_poll_interval_seconds", "The poll interval that the budget allows. Absent before the first plan.", perEndpoint...)
	endpointLongest    = gauge("endpoint_longest_poll_interval_seconds", "The longest time between two polls since the start, or that the budget allows for.", perEndpoint...)
	endpointGap        = gauge("endpoint_gap_seconds", "Time that was never read although later time was, except for the history of a first read.", perEndpoint...)
	sweepAge           = gauge("sweep_age_seconds", "Since the last read of the time in the tier that was read longest ago.", append(perEndpoint, "within")...)
	sweepInterval      = gauge("sweep_interval_seconds", "How often the tier is read again, as the budget allows. Absent before the first plan.", append(perEndpoint, "within")...)
	backfillJobs       = gauge("backfill_open_jobs", "Backfills that were requested and are not finished.", "account")
	budgetUsed         = gauge("budget_requests", "Requests in the last minute, by priority class.", "account", "priority_class")
	budgetLimit        = gauge("budget_limit", "Requests allowed in any minute.", "account")
	blockedFor         = gauge("blocked_seconds", "How much longer no request is sent, because the API asked to wait; 0 while it does not.", "account")
	clockSkew          = gauge("clock_skew_seconds", "Our clock less the API's.", "account")
	problemCount       = gauge("problems", "Problems with topics, rights, the schema registry or the group, which stop no account by themselves.")
	deliveryUp         = gauge("delivery_up", "1 while events are delivered, 0 while delivery fails.")
	checkpointUp       = gauge("checkpoint_up", "1 while the checkpoint file can be written, 0 while it cannot.")
	checkpointBytes    = gauge("checkpoint_bytes", "Size of the checkpoint file.")
	checkpointEntities = gauge("checkpoint_entities", "Entities in the checkpoint file.")
)

// Describe sends nothing: which metrics there are depends on the accounts.
func (g gauges) Describe(chan<- *prometheus.Desc) {}

// Collect reads the status once, so that all its metrics belong together.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	s := g.status()
	send(problemCount, float64(len(s.Problems)))
	send(deliveryUp, oneIf(!s.Delivery.State.Red()))
	send(checkpointUp, oneIf(!s.Checkpoint.State.Red()))
	send(checkpointBytes, float64(s.Checkpoint.Bytes))
	send(checkpointEntities, float64(s.Checkpoint.Entities))
	for _, a := range s.Accounts {
		send(accountRead, oneIf(a.Read), a.Name)
		send(accountPaused, oneIf(a.Paused != nil), a.Name)
		send(budgetLimit, float64(a.Budget.Limit), a.Name)
		for _, class := range a.Budget.PriorityClasses {
			send(budgetUsed, float64(class.Used), a.Name, class.Name)
		}
		blocked := 0.0
		if until := a.Budget.BlockedUntil; until != nil {
			blocked = max(until.Sub(s.Now).Seconds(), 0)
		}
		send(blockedFor, blocked, a.Name)
		send(backfillJobs, float64(unfinished(a)), a.Name)
		if a.ClockSkew != nil {
			send(clockSkew, seconds(*a.ClockSkew), a.Name)
		}
		for _, e := range a.Endpoints {
			labels := []string{a.Name, e.Endpoint, e.BotID}
			send(endpointUp, oneIf(e.Up(s.Now)), labels...)
			if w := e.Waiting; w != nil {
				send(endpointWaiting, max(0, s.Now.Sub(w.Since).Seconds()), append(labels, string(w.Reason))...)
			}
			if e.Lag != nil {
				send(endpointLag, seconds(*e.Lag), labels...)
			}
			if e.CompleteUpTo != nil {
				send(endpointComplete, float64(e.CompleteUpTo.UnixMilli())/1000, labels...)
			}
			if e.PollIntervalActual > 0 { // it is planned
				send(endpointInterval, seconds(e.PollIntervalActual), labels...)
			}
			if e.LongestPollInterval > 0 {
				send(endpointLongest, seconds(e.LongestPollInterval), labels...)
			}
			firstRead := 0.0
			if e.FirstRead != nil {
				firstRead = seconds(e.FirstRead.Remaining)
			}
			send(endpointFirstRead, firstRead, labels...)
			var gap time.Duration
			for _, g := range e.Gaps {
				gap += g.To.Sub(g.From)
			}
			send(endpointGap, gap.Seconds(), labels...)
			for _, sweep := range e.Sweeps {
				within := append(labels, conf.FormatDuration(time.Duration(sweep.Within)))
				if sweep.Actual > 0 { // it is planned
					send(sweepInterval, seconds(sweep.Actual), within...)
				}
				if sweep.Age != nil {
					send(sweepAge, seconds(*sweep.Age), within...)
				}
			}
		}
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(s status.Seconds) float64 { return time.Duration(s).Seconds() }
