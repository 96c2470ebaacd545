// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cmd_metrics.c - `warmcore metrics`: the node's metrics as text, for node_exporter's textfile collector and for people. */
#include <stdlib.h>

#include "tools/cli.h"
#include "user/metrics.h"

static struct metrics_options {
	bool open, table;
} options;

#define AT(member) .offset = offsetof(struct metrics_options, member)

static const struct option_spec specs[] = {
	{ .name = "open",
	  .type = OPTION_FLAG,
	  AT(open),
	  .help = "Print OpenMetrics 1.0.0 instead of Prometheus's text format 0.0.4." },
	{ .name = "table",
	  .type = OPTION_FLAG,
	  AT(table),
	  .help = "Print every metric that there is, also those of the gateway, as rows of docs/METRICS.md. No node is asked." },
	{ 0 },
};

static int run_metrics(struct cli *cli, int argc, char **argv)
{
	struct wc_metrics metrics;
	json_t *answer;
	size_t length;
	char *text;
	int ret;

	(void)argc;
	(void)argv;
	if (options.table) {
		wc_metrics_print_table(stdout);
		return CLI_OK;
	}
	ret = cli_control(cli, json_pack("{s:s}", "op", "metrics"), CLI_CONTROL_TIMEOUT_MS, &answer);
	if (ret)
		return ret;
	if (cli->json) {
		cli_print_json(answer);
		json_decref(answer);
		return CLI_OK;
	}
	wc_metrics_begin(&metrics, options.open);
	wc_metrics_of_node(&metrics, answer);
	json_decref(answer);
	text = wc_metrics_end(&metrics, &length);
	if (!text)
		return cli_fail(cli, "out of memory");
	ret = fwrite(text, 1, length, stdout) == length && !fflush(stdout) ? CLI_OK :
									     cli_fail(cli, "cannot write the metrics");
	free(text);
	return ret;
}

const struct command cmd_metrics = {
	.name = "metrics",
	.options = &options,
	.run = run_metrics,
	.help = {
		.summary = "print the node's metrics, as Prometheus reads them",
		.synopsis = "[--open | --table]",
		.description = "Prints what /metrics of the gateway has of the node, without a gateway: counters, gauges and histograms of "
			       "packets, queues, functions, cores and instances. docs/METRICS.md says what each is. With --json, what the "
			       "node answered, with all buckets.\n\n"
			       "For the textfile collector of node_exporter, write to a file beside and rename it, as in the example.",
		.examples = "  warmcore metrics\n"
			    "  warmcore metrics >/var/lib/prometheus/node-exporter/warmcore.prom.new &&\n"
			    "    mv /var/lib/prometheus/node-exporter/warmcore.prom.new /var/lib/prometheus/node-exporter/warmcore.prom",
		.options = specs,
	},
};
