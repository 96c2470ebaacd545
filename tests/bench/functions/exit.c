/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* exit.c - nothing at all, linked statically: the least that starting a program can cost. The floor of the group `cold`. */
int main(void)
{
	return 0;
}
