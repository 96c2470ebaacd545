/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* report.c - see report.h. */
#include "tools/sim/report.h"

#include <inttypes.h>

#define NS_US 1e-3

/* One figure: its name in JSON and CSV, how many digits, whether it is a whole number, and what it is. */
struct figure {
	const char *name;
	int digits; /* after the point; 0: a whole number */
	double (*value)(const struct report *report);
};

#define COUNT(name)                                                                                                    \
	static double get_##name(const struct report *report)                                                          \
	{                                                                                                              \
		return (double)report->result->name;                                                                   \
	}
#define OPTION(name)                                                                                                   \
	static double get_##name(const struct report *report)                                                          \
	{                                                                                                              \
		return (double)report->options->name;                                                                  \
	}
#define QUANTILE(name, histogram, rank, unit)                                                                          \
	static double get_##name(const struct report *report)                                                          \
	{                                                                                                              \
		return histogram_quantile(&report->result->histogram, rank) * (unit);                                  \
	}
#define MEAN(name, histogram, unit)                                                                                    \
	static double get_##name(const struct report *report)                                                          \
	{                                                                                                              \
		return histogram_mean(&report->result->histogram) * (unit);                                            \
	}
#define LARGEST(name, histogram, unit)                                                                                 \
	static double get_##name(const struct report *report)                                                          \
	{                                                                                                              \
		return (double)report->result->histogram.max * (unit);                                                 \
	}

/* clang-format off */
#define FIGURES(X_OPTION, X_COUNT, X_MEAN, X_QUANTILE, X_LARGEST)                    \
	X_OPTION(cores) X_OPTION(functions) X_OPTION(seed)                           \
	X_COUNT(arrived, 0) X_COUNT(completed, 0) X_COUNT(refused, 0)                \
	X_COUNT(offered, 5) X_COUNT(utilization, 5) X_COUNT(in_system, 3)            \
	X_MEAN(slowdown_mean, slowdown, 1e-3)                                        \
	X_QUANTILE(slowdown_p50, slowdown, 0.5, 1e-3)                                \
	X_QUANTILE(slowdown_p90, slowdown, 0.9, 1e-3)                                \
	X_QUANTILE(slowdown_p99, slowdown, 0.99, 1e-3)                               \
	X_QUANTILE(slowdown_p999, slowdown, 0.999, 1e-3)                             \
	X_LARGEST(slowdown_max, slowdown, 1e-3)                                      \
	X_MEAN(response_us_mean, response, NS_US)                                    \
	X_QUANTILE(response_us_p50, response, 0.5, NS_US)                            \
	X_QUANTILE(response_us_p90, response, 0.9, NS_US)                            \
	X_QUANTILE(response_us_p99, response, 0.99, NS_US)                           \
	X_QUANTILE(response_us_p999, response, 0.999, NS_US)                         \
	X_LARGEST(response_us_max, response, NS_US)                                  \
	X_MEAN(wait_us_mean, wait, NS_US)                                            \
	X_QUANTILE(wait_us_p50, wait, 0.5, NS_US)                                    \
	X_QUANTILE(wait_us_p99, wait, 0.99, NS_US)                                   \
	X_MEAN(service_us_mean, service, NS_US)                                      \
	X_COUNT(cold, 0) X_COUNT(moved, 0) X_COUNT(warm, 0) X_COUNT(started_ahead, 0) \
	X_COUNT(steals, 0) X_COUNT(node_steals, 0) X_COUNT(migrations, 0)            \
	X_COUNT(probes, 0) X_COUNT(pended, 0)                                        \
	X_COUNT(idle_beside_waiting, 6) X_COUNT(spread, 5) X_COUNT(longest, 0)       \
	X_COUNT(in_flight_max, 0) X_COUNT(events, 0) X_COUNT(end_ns, 0)              \
	X_COUNT(bytes, 0) X_COUNT(seconds, 4)                                        \
	X_COUNT(throughput, 3) X_OPTION(schedulers) X_COUNT(orders, 0)               \
	X_COUNT(scheduler_busy, 5) X_COUNT(scheduler_busy_max, 5)                    \
	X_MEAN(decision_us_mean, decision, NS_US)                                    \
	X_QUANTILE(decision_us_p50, decision, 0.5, NS_US)                            \
	X_QUANTILE(decision_us_p99, decision, 0.99, NS_US)
/* clang-format on */

#define MAKE_COUNT(name, digits) COUNT(name)
FIGURES(OPTION, MAKE_COUNT, MEAN, QUANTILE, LARGEST)

#define ROW_OPTION(name) { #name, 0, get_##name },
#define ROW_COUNT(name, digits) { #name, digits, get_##name },
#define ROW_TIME(name, ...) { #name, 4, get_##name },
static const struct figure figures[] = { FIGURES(ROW_OPTION, ROW_COUNT, ROW_TIME, ROW_TIME, ROW_TIME) };
#define FIGURES_COUNT (sizeof(figures) / sizeof(figures[0]))

json_t *report_json(const struct report *report)
{
	json_t *object = json_pack("{s:s}", "policy", sim_policy_name(report->options->policy));

	for (size_t i = 0; object && i < FIGURES_COUNT; i++) {
		double value = figures[i].value(report);
		json_t *number = figures[i].digits ? json_real(value) : json_integer((json_int_t)value);

		if (json_object_set_new(object, figures[i].name, number)) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

void report_csv_header(FILE *file)
{
	fputs("policy", file);
	for (size_t i = 0; i < FIGURES_COUNT; i++)
		fprintf(file, ",%s", figures[i].name);
	putc('\n', file);
}

void report_csv(const struct report *report, FILE *file)
{
	fputs(sim_policy_name(report->options->policy), file);
	for (size_t i = 0; i < FIGURES_COUNT; i++)
		fprintf(file, ",%.*f", figures[i].digits, figures[i].value(report));
	putc('\n', file);
}

/* --- for people --- */

static void times(const char *name, const struct histogram *histogram, double unit, int digits, FILE *file)
{
	static const double ranks[] = { 0.5, 0.9, 0.99, 0.999 };

	fprintf(file, "%-14s %12.*f", name, digits, histogram_mean(histogram) * unit);
	for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++)
		fprintf(file, " %12.*f", digits, histogram_quantile(histogram, ranks[i]) * unit);
	fprintf(file, " %12.*f\n", digits, (double)histogram->max * unit);
}

/* What one scheduler can do, and for how many cores that is enough if the others are like these. */
static void schedulers(const struct report *report, FILE *file)
{
	const struct sim_options *options = report->options;
	const struct sim_result *r = report->result;
	double takes = (double)(options->remote_ns + options->core_free_ns), service = histogram_mean(&r->service);

	times("decision, us", &r->decision, NS_US, 2, file);
	fprintf(file,
		"%u schedulers, busy %.1f %% of the time, the busiest %.1f %%; sent to other nodes %" PRIu64
		", completed a second %.0f\n",
		options->schedulers, r->scheduler_busy * 100, r->scheduler_busy_max * 100, r->orders, r->throughput);
	if (takes > 0 && r->offered > 0 && service > 0)
		fprintf(file, "one scheduler is saturated by %.0f invocations a second: %.0f such cores at this load\n",
			1e9 / takes, 1e9 / takes * service * 1e-9 / r->offered);
}

void report_text(const struct report *report, FILE *file)
{
	const struct sim_result *r = report->result;
	double all = r->completed ? (double)r->completed : 1;

	fprintf(file, "%s: %" PRIu64 " invocations, %" PRIu64 " refused, %.3f s of virtual time, load %.3f\n",
		sim_policy_name(report->options->policy), r->arrived, r->refused, (double)r->end_ns * 1e-9, r->offered);
	fprintf(file, "%-14s %12s %12s %12s %12s %12s %12s\n", "", "mean", "p50", "p90", "p99", "p99.9", "max");
	times("slowdown", &r->slowdown, 1e-3, 3, file);
	times("response, us", &r->response, NS_US, 1, file);
	times("waiting, us", &r->wait, NS_US, 1, file);
	fprintf(file,
		"cores busy %.1f %%, %.1f invocations in the system, %" PRIu64 " at most\n"
		"cold starts %" PRIu64 " (%.3f %%), from another core %" PRIu64 ", warm %" PRIu64 "\n"
		"waited in a queue for all %" PRIu64 ", stolen between shards %" PRIu64 ", between nodes %" PRIu64 "\n"
		"idle cores beside waiting invocations %.3f %%, load between cores varies by %.2f, at most %u on one\n",
		r->utilization * 100, r->in_system, r->in_flight_max, r->cold, (double)r->cold * 100 / all, r->moved,
		r->warm, r->pended, r->steals, r->node_steals, r->idle_beside_waiting * 100, r->spread, r->longest);
	if (report->options->schedulers)
		schedulers(report, file);
	if (r->migrations | r->probes | r->started_ahead)
		fprintf(file, "migrated %" PRIu64 ", probes %" PRIu64 ", replicas started %" PRIu64 "\n", r->migrations,
			r->probes, r->started_ahead);
	fprintf(file, "simulated in %.2f s, %.2f million invocations a second, %.1f MiB\n", r->seconds,
		r->seconds > 0 ? (double)r->arrived / r->seconds * 1e-6 : 0, (double)r->bytes / 1048576);
}
