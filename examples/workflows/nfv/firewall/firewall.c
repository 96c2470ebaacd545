/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * firewall.c - the first of the chain: drops what is damaged, and what the first rule of rules.txt that fits it denies.
 *
 * A rule is a line: allow|deny PROTOCOL SOURCE TARGET PORTS; PROTOCOL any, tcp, udp, icmp or a number, SOURCE and TARGET any, an IPv4 address or
 * a prefix of one, PORTS (of the target) any, N or N-M. What no rule fits is denied.
 */
#include <arpa/inet.h>

#include "../batch.h"

WARMCORE_FUNCTION_ABI;

#define RULES_MAX 1024u

struct prefix {
	uint32_t address, mask;
};

static struct rule {
	bool allow;
	int protocol; /* -1: any */
	struct prefix source, target;
	int from, to; /* ports; from -1: any */
} rules[RULES_MAX];
static unsigned rules_count;

static bool parse_prefix(struct prefix *prefix, char *text)
{
	char *slash = strchr(text, '/'), *end;
	struct in_addr address;
	long bits = 32;

	prefix->address = prefix->mask = 0;
	if (!strcmp(text, "any"))
		return true;
	if (slash) {
		*slash = '\0';
		bits = strtol(slash + 1, &end, 10);
		if (end == slash + 1 || *end || bits < 0 || bits > 32)
			return false;
	}
	if (inet_pton(AF_INET, text, &address) != 1)
		return false;
	prefix->mask = bits ? UINT32_MAX << (32 - bits) : 0;
	prefix->address = ntohl(address.s_addr) & prefix->mask;
	return true;
}

/* A number from 0 to `most`, and what follows it. -1: there is none. */
static int parse_number(const char *text, int most, const char **rest)
{
	char *end;
	long value = strtol(text, &end, 10);

	*rest = end;
	return end == text || value < 0 || value > most ? -1 : (int)value;
}

static bool parse_rule(struct rule *rule, const char *line)
{
	char action[8], protocol[8], source[32], target[32], ports[16];
	const char *rest;

	if (sscanf(line, "%7s %7s %31s %31s %15s", action, protocol, source, target, ports) != 5)
		return false;
	rule->allow = !strcmp(action, "allow");
	if (!rule->allow && strcmp(action, "deny"))
		return false;
	rule->protocol = !strcmp(protocol, "tcp")  ? TCP :
			 !strcmp(protocol, "udp")  ? UDP :
			 !strcmp(protocol, "icmp") ? ICMP :
						     -1;
	if (rule->protocol < 0 && strcmp(protocol, "any")) {
		rule->protocol = parse_number(protocol, 255, &rest);
		if (rule->protocol < 0 || *rest)
			return false;
	}
	if (!parse_prefix(&rule->source, source) || !parse_prefix(&rule->target, target))
		return false;
	rule->from = rule->to = -1;
	if (strcmp(ports, "any")) {
		rule->from = rule->to = parse_number(ports, 65535, &rest);
		if (rule->from >= 0 && *rest == '-')
			rule->to = parse_number(rest + 1, 65535, &rest);
		if (rule->from < 0 || rule->to < rule->from || *rest)
			return false;
	}
	return true;
}

WARMCORE_EXPORT int warmcore_init(void)
{
	FILE *file = fopen("rules.txt", "r");
	unsigned number = 0;
	char line[256];

	if (!file) {
		warmcore_log("rules.txt: %s", strerror(errno));
		return -1;
	}
	while (fgets(line, sizeof(line), file)) {
		number++;
		if (line[strspn(line, " \t\r\n")] == '#' || !line[strspn(line, " \t\r\n")])
			continue;
		if (rules_count == RULES_MAX || !parse_rule(&rules[rules_count], line)) {
			warmcore_log("rules.txt, line %u: no rule, or more than %u", number, RULES_MAX);
			fclose(file);
			return -1;
		}
		rules_count++;
	}
	fclose(file);
	return 0;
}

static bool fits(const struct rule *rule, const struct packet *packet)
{
	return (rule->protocol < 0 || rule->protocol == packet->protocol) &&
	       (packet->source & rule->source.mask) == rule->source.address &&
	       (packet->target & rule->target.mask) == rule->target.address &&
	       (rule->from < 0 || ((packet->protocol == TCP || packet->protocol == UDP) && packet->ports &&
				   packet->target_port >= rule->from && packet->target_port <= rule->to));
}

static enum verdict filter(void *context, unsigned char *frame, uint32_t length)
{
	struct packet packet;

	(void)context;
	if (!packet_parse(&packet, frame, length))
		return MALFORMED;
	for (unsigned i = 0; i < rules_count; i++)
		if (fits(&rules[i], &packet))
			return rules[i].allow ? PASS : DENIED;
	return DENIED;
}

WARMCORE_EXPORT int warmcore_handle(const struct warmcore_request *request, struct warmcore_response *response)
{
	static const struct batch_function function = { .work = filter };

	return batch_serve(request, response, &function);
}
