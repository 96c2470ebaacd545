/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * freeq.pml - the protocol between claimers and cores, as a model for the checker spin: no core twice, no invocation
 * twice, no lost wake-up. test_model.sh checks it in several configurations, and that it can fail: with each
 * MUTATE_... one thing is wrong, and spin has to notice.
 *
 * What is checked, in every order in which the steps can happen:
 *   (a) A core has one owner or one bit in one queue; never both, never two. Assertions in TAKEN, PUT, and at the end.
 *   (b) Every invocation runs exactly once, and none waits while a core sleeps that may run it. An agent may sleep
 *       for ever only when all have begun, so a lost wake-up is an "invalid end state". A wake-up that merely comes
 *       when somebody else is done is one too, since up to CORES - 1 invocations (longs) may run until all
 *       have begun.
 *   (c) No deadlock, and no agent that waits for an announcement which nothing follows: the same check. That
 *       everything comes to an end is another run, for cycles: there are none.
 *   (d) At the end every core is free, claims = releases, and all counts (announced, running, waiting, trials) are 0.
 *   (e) At rest a hint never says "nothing" where there is a free core.
 *   (f) A function never runs more often than its limit.
 *
 * The processes, and what they are in C. One step is one read or one atomic operation on shared words.
 *   claimer(s)   wc_decide() for the packets of shard s: the XDP program on the CPU of a receive queue; or with
 *                STACK, for shard 1, the daemon's stack thread.
 *                  first look     wc_decide_first(), wc_decide_now(): CLAIM_LOWEST is wc_freeq_claim_lowest(), STEAL
 *                                 is wc_freeq_steal(), with one try each, where C has up to four
 *                  announcement   wc_announce()
 *                  second look    wc_decide_wait(): exact() is wc_freeq_claim_exact(); a late claim takes the
 *                                 announcement back
 *                  redirect       becomes visible when the driver flushes, at once or with that of the next packet.
 *                                 The stack thread: wc_agent_hand_over(), wc_pending_push()
 *   agent(c)     agent_main() of user/agent.c: pick, run, look, release, look, take itself back, await, sleep; with
 *                wc_pending_pick(), _any(), _look(), _await() of user/pending.c and wc_worker_account() of user/run.c
 *   mover        set_home() and give() of user/scheduler.c: another home for core MOVER, whatever that core does
 *   drainer      wc_pending_holds(), wc_pending_expired(): others empty the rings into the pending queue
 *                and pick nothing
 *
 * The words:
 *   bits[s]         wc_shard.word[]; a word has BITS bits, so that with 3 cores there are two below a summary
 *   summary, top    wc_shard.summary, wc_top.shards
 *   flight[s]       wc_pending_in_flight(): pending_in - pending_seen in one read. C reads pending_in last and so
 *                   never sees less: an agent stays awake once too often, not once too little
 *   shard, home     wc_core.shard, .home; constants without a mover
 *   idle            bit c: wc_core.state is WC_CORE_FREE, and releases = claims
 *   own, ring       receive rings of the cores' and of the pending sockets (and inboxes): the visible packets
 *   queue, moved    struct wc_pending: what waits in it; bit c: the generation is not the one that agent c saw
 *   wake            the agents' eventfds
 *   running, waiting  of the one function with a limit, which invocation i is of if IS_LIMITED(i)
 *   trials          trials_begun - trials_ended of wc_top, in one read; that one ended counts as another generation
 *
 * Sequential consistency is assumed. On x86 each atomic here is a full barrier (bpf/shim.h), and the reads that
 * matter follow one: the words after the announcement, the announcements after the release. A machine that reorders
 * more needs another look at exactly those.
 *
 * Steps that nobody can tell apart are one: an atomic that would change nothing and the read that spares it
 * (wc_freeq_take(), the top bit in wc_freeq_announce()); what only the owner of a core, or of the lock, reads or
 * writes, with the step before or after; taking the lock with the first and leaving it with the last step inside
 * (Lipton 1975). What wc_pending_pick() and agent_main() read to spare themselves the lock (wc_pending_any()) is in
 * with EARLY only.
 *
 * Not modelled: warmth, tags, reserves, near shards, order `spread` (other ways to choose the bit that TAKE tries),
 * early binding, priorities, packets that are lost on the way, nodes that die, parked cores, numbers that overflow.
 *
 * What it taught:
 *   - A hint that wrongly says "nothing" is harmless for (b): MUTATE_EMPTIED_NO_RECHECK passes with NO_HINT_CHECK,
 *     since the exact look does without hints. If that trusted them, they would matter: MUTATE_EXACT_USES_HINTS.
 *   - The generation has to move before pending_seen does, or an agent that looks in between sees neither
 *     (MUTATE_GENERATION_LATE). A nudge hides this as long as everybody who empties the rings also picks, and as long
 *     as the nudge looks at the words: by hints it meets the empty shard of the picker itself (MUTATE_NUDGE_HINTS).
 *     With the generation first, no configuration here needs the nudge.
 *   - An invocation that is held by its function's limit makes no exact look: cores may sleep already. Whoever ends
 *     the other one has to see to it, so it must not release its core while something is announced or has come since
 *     its pick: a claimer may take the core, and with it the only agent that knows (MUTATE_RELEASE_FIRST; it does not
 *     suffice to look for what is in flight, MUTATE_LOOK_IN_FLIGHT).
 *   - A claimer counts for the limit before it knows whether there is a core. Whoever is turned away because of that
 *     relies on it to look again, or to announce. With REFUSE it may do neither (queue full, retransmission), and only
 *     the trials in wc_top save the one that waits (MUTATE_NO_TRIALS). Without refusals nobody needs them.
 */

/* --- configuration --- */

#ifndef CORES /* 2 or 3 */
#define CORES 2
#endif
#ifndef SEND0 /* invocations that claimer 0 sends, the first numbers; 1 or 2 */
#define SEND0 2
#endif
#ifndef SEND1 /* and claimer 1, the next numbers; 0 to 2 */
#define SEND1 1
#endif
#ifndef LIMITED /* bit i: invocation i is of the function that may run once at a time */
#define LIMITED 0
#endif
#ifdef BUSY /* core 0 begins in the middle of one more of that function, number 3 */
#define IS_LIMITED(i) ((LIMITED | 8) >> (i) & 1)
#else
#define IS_LIMITED(i) (LIMITED >> (i) & 1)
#endif
#ifndef STACK /* 1: claimer 1 is the stack thread */
#define STACK 0
#endif
#define HOMES 2 /* bit c: home of core c: 0 and 2 in shard 0, 1 in shard 1 */
#define BITS 2
#define MAX 1

#define B(n) (1 << (n))
#define LOW(x) ((x) & 1 -> 0 : ((x) & 2 -> 1 : ((x) & 4 -> 2 : 3)))
#define WORD(s, w) (bits[s] & 3 << (w) * BITS)
#define HOME(c) (HOMES >> (c) & 1)
#define ALL_CORES (B(CORES) - 1)
#define ALL_SENT (B(SEND0 + SEND1) - 1)
#define OF_SHARD(s) ((s) == 0 -> B(SEND0) - 1 : ALL_SENT & ~(B(SEND0) - 1))
#define SENDS(s) ((s) == 0 -> SEND0 : SEND1)
#define NONE 7	     /* no core */
#define TO_PENDING 6 /* the packet went to the pending queue */

/* MOVER=CORE, DRAINER, EARLY, REFUSE, NO_HINT_CHECK: see above. */

/* --- shared words --- */

byte bits[2], summary[2], top;
byte flight[2];
byte idle;
byte own[CORES]; /* invocation + 1 */
byte ring[2];	 /* bit i: invocation i */
byte queue;
byte moved;
byte wake;
bit lock;
#if LIMITED
byte running, waiting;
byte trials;
byte under_way; /* for (f): invocations of the function that run */
#endif
#ifdef MOVER
byte shard[CORES], home[CORES];
#endif
byte owned = ALL_CORES; /* for (a): bit c: core c has an owner. Agents start with their cores */
byte ran;		/* for (b): bit i: invocation i has begun (or was refused) */
byte longs;		/* for (b): invocations that run until all have begun */

/* --- freeq.h --- */

/* wc_freeq_announce() */
inline announce(s, w)
{
	if
	:: summary[s] & B(w)
	:: else ->
		summary[s] = summary[s] | B(w);
		top = top | B(s)
	fi
}

/* wc_freeq_emptied() */
inline emptied(s, w)
{
	summary[s] = summary[s] & ~B(w);
#ifndef MUTATE_EMPTIED_NO_RECHECK
	if
	:: WORD(s, w) -> announce(s, w)
	:: else
	fi
#endif
}

/* wc_top_emptied() */
inline top_emptied(s)
{
	top = top & ~B(s);
#ifndef MUTATE_EMPTIED_NO_RECHECK
	if
	:: summary[s] -> top = top | B(s)
	:: else
	fi
#endif
}

/* The bit was there and is gone now; and what its new owner writes first: state, claims. */
#define TAKEN(s, k) \
	bits[s] = bits[s] & ~B(k); \
	assert(!(owned & B(k))); \
	owned = owned | B(k); \
	assert(idle & B(k)); \
	idle = idle & ~B(k)

/* wc_freeq_take() of a claimer: core k becomes core c of the decision. */
#ifdef MUTATE_CLAIM_NOT_ATOMIC
#define TAKE(s, k, c, got) \
	if \
	:: bits[s] & B(k) -> \
		d_step { TAKEN(s, k); c = k; k = 0 } \
		goto got \
	:: d_step { !(bits[s] & B(k)) -> k = 0 } \
	fi
#else
#define TAKE(s, k, c, got) \
	if \
	:: d_step { bits[s] & B(k) -> TAKEN(s, k); c = k; k = 0 } \
		goto got \
	:: d_step { !(bits[s] & B(k)) -> k = 0 } \
	fi
#endif

/* The atomic of wc_freeq_put() */
#define PUT(s, k) \
	assert(owned & B(k) && !((bits[0] | bits[1]) & B(k))); \
	bits[s] = bits[s] | B(k); \
	owned = owned & ~B(k)

/* wc_release_core() */
inline release(k)
{
#ifdef MOVER
	s = home[k];
	d_step { shard[k] = s; idle = idle | B(k) }
	d_step { PUT(s, k) }
	announce(s, k / BITS);
	s = 0
#else
#ifdef MUTATE_STATE_AFTER_BIT
	d_step { PUT(HOME(k), k) }
	idle = idle | B(k);
#else
	d_step { idle = idle | B(k); PUT(HOME(k), k) }
#endif
	announce(HOME(k), k / BITS)
#endif
}

/* wc_freeq_claim_lowest(), one round, from where the summary was read */
#define CLAIM_BEHIND_SUMMARY(s, got) \
	:: d_step { summary[s] != 0 -> w = LOW(summary[s]) } \
		if \
		:: d_step { WORD(s, w) != 0 -> k = LOW(WORD(s, w)); w = 0 } \
			TAKE(s, k, c, got) \
		:: else -> \
			emptied(s, w); \
			w = 0 \
		fi

#define CLAIM_LOWEST(s, got) \
	if \
	:: summary[s] == 0 \
	CLAIM_BEHIND_SUMMARY(s, got) \
	fi

/* wc_freeq_steal(), one round; there is only one other shard */
#define STEAL(s, got) \
	if \
	:: !(top & B(s)) \
	:: else -> \
		if \
		:: summary[s] == 0 -> top_emptied(s) \
		CLAIM_BEHIND_SUMMARY(s, got) \
		fi \
	fi

/* wc_exact_word(), wc_exact_bit() */
inline exact_word(s, w)
{
	x = WORD(s, w);
	do
	:: d_step { x != 0 && bits[s] & B(LOW(x)) -> c = LOW(x); x = 0; TAKEN(s, c) }
		goto got_late
	:: d_step { x != 0 && !(bits[s] & B(LOW(x))) -> x = x & (x - 1) }
	:: x == 0 -> break
	od
}

/* wc_freeq_claim_exact() */
inline exact(s)
{
	exact_word(s, 0);
#if CORES > BITS
	exact_word(s, 1);
#endif
	exact_word(1 - s, 0);
#if CORES > BITS
	exact_word(1 - s, 1)
#endif
}

/* --- decide.h --- */

#if LIMITED
/* The atomic of wc_run_begin(), after its read */
#if defined(MUTATE_LIMIT_NOT_ATOMIC)
#define COUNT(refused) running++
#elif defined(MUTATE_LIMIT_NO_UNDO)
#define COUNT(refused) \
	if \
	:: d_step { running >= MAX -> running++ } \
		goto refused \
	:: d_step { running < MAX -> running++ } \
	fi
#else
#define COUNT(refused) \
	if \
	:: d_step { running >= MAX -> running++ } \
		running--; \
		goto refused \
	:: d_step { running < MAX -> running++ } \
	fi
#endif

/* wc_run_begin() for invocation i; nothing for one without a limit. */
#define RUN_BEGIN(i, refused) \
	if \
	:: !IS_LIMITED(i) \
	:: IS_LIMITED(i) && running >= MAX -> goto refused \
	:: else -> COUNT(refused) \
	fi;

/* wc_run_end() for what was counted in vain */
#define RUN_END(i) \
	if \
	:: IS_LIMITED(i) -> running-- \
	:: else \
	fi;

/* trials_begun, and trials_ended, which moves the generation too */
#define TRIAL_BEGIN(i) \
	if \
	:: IS_LIMITED(i) -> trials++ \
	:: else \
	fi;
#define TRIAL_END(i) \
	if \
	:: d_step { IS_LIMITED(i) -> trials--; moved = ALL_CORES } \
	:: else \
	fi;

#define WAITING(i, change) \
	if \
	:: IS_LIMITED(i) -> waiting = waiting change \
	:: else \
	fi;
#else
#define RUN_BEGIN(i, refused)
#define RUN_END(i)
#define WAITING(i, change)
#define TRIAL_BEGIN(i)
#define TRIAL_END(i)
#endif

/* nudge() of pending.c: wake the agent of a free core, if there is one. */
inline nudge()
{
#if defined(MUTATE_NUDGE_HINTS)
	if
	:: top == 0
	:: d_step { top != 0 -> x = LOW(top) }
		if
		:: d_step { bits[x] != 0 -> x = LOW(bits[x]) }
			wake = wake | B(x)
		:: else
		fi
	fi;
	x = 0
#elif defined(MUTATE_NO_NUDGE)
	skip
#else
	if
	:: d_step { bits[0] != 0 -> x = LOW(bits[0]) }
		d_step { wake = wake | B(x); x = 0 }
	:: else ->
		if
		:: d_step { bits[1] != 0 -> x = LOW(bits[1]) }
			d_step { wake = wake | B(x); x = 0 }
		:: else
		fi
	fi
#endif
}

#ifdef MUTATE_NO_LOCK
#define UNLOCKED true
#else
#define UNLOCKED !lock
#endif

/* wc_pending_push() */
#ifdef MUTATE_GENERATION_LATE
#define PUSH(i) \
	d_step { UNLOCKED -> lock = 1; flight[me]--; queue = queue | B(i) } \
	d_step { moved = ALL_CORES; lock = 0 }
#else
#define PUSH(i) \
	d_step { UNLOCKED -> lock = 1; queue = queue | B(i); moved = ALL_CORES } \
	d_step { flight[me]--; lock = 0 }
#endif

#define MORE (i + 1 < me * SEND0 + SENDS(me))
#define IS_STACK (STACK && me == 1)

proctype claimer(bit me)
{
	byte i = me * SEND0; /* the invocation */
	byte c = NONE;	     /* where it goes */
	byte before = NONE;  /* where the one before goes, if that is not visible yet */
	byte k, w, x;

next:
	/* wc_decide_now() */
	TRIAL_BEGIN(i)
	RUN_BEGIN(i, held)
	CLAIM_LOWEST(me, got_first);
	STEAL(1 - me, got_first);
	RUN_END(i)
held:
	TRIAL_END(i)
	/* wc_decide_wait() */
#ifdef REFUSE
	if
	:: ran = ran | B(i) -> goto decided
	:: true /* not refused */
	fi;
#endif
#ifndef MUTATE_ANNOUNCE_AFTER
	flight[me]++;
#endif
	WAITING(i, + 1)
#ifdef MUTATE_LIMIT_RECHECK
	if
	:: IS_LIMITED(i) -> goto pend
	:: else
	fi;
#else
	RUN_BEGIN(i, pend)
#endif
#if defined(MUTATE_EXACT_USES_HINTS)
	CLAIM_LOWEST(me, got_late);
	STEAL(1 - me, got_late);
#elif defined(MUTATE_NO_EXACT)
	if
	:: false -> goto got_late
	:: else
	fi;
#else
	exact(me);
#endif
	RUN_END(i)
pend:
#ifdef MUTATE_ANNOUNCE_AFTER
	flight[me]++;
#endif
	c = TO_PENDING;
	goto decided;
got_late:
	if
	:: true
	fi;
	WAITING(i, - 1)
#if !defined(MUTATE_ANNOUNCE_AFTER) && !defined(MUTATE_NO_UNDO)
	flight[me]--;
#endif
	goto decided;
got_first:
	if
	:: true
	fi;
	TRIAL_END(i)
decided:
	/* What was decided becomes visible: the driver flushes, now or later, or the stack thread hands it over. */
	if
	:: d_step { before == TO_PENDING -> ring[me] = ring[me] | B(i - 1); before = NONE }
		goto decided
	:: d_step { before < TO_PENDING -> assert(!own[before]); own[before] = i; before = NONE }
		goto decided
	:: d_step { before == NONE && c == TO_PENDING && !IS_STACK -> ring[me] = ring[me] | B(i); c = NONE }
	:: d_step { before == NONE && c < TO_PENDING -> assert(!own[c]); own[c] = i + 1; c = NONE }
#if STACK
	:: c == TO_PENDING && IS_STACK -> PUSH(i); c = NONE
#endif
#ifdef REFUSE
	:: before == NONE && c == NONE
#endif
	:: d_step { before == NONE && MORE && !IS_STACK -> before = c; c = NONE; i++ }
		goto next
	fi;
	if
	:: d_step { MORE -> i++ }
		goto next
	:: else
	fi
}

/* --- the daemon --- */

/* One packet from the ring of shard s into the queue: receive(), arrive(). The caller has the lock. */
#define RECEIVE(s) \
	x = LOW(ring[s]); \
	ring[s] = ring[s] & ~B(x); \
	queue = queue | B(x); \
	x = 0
#define COUNT_SEEN(s) \
	assert(flight[s] > 0); \
	flight[s]--

/* Take the lock and empty the rings: drain() */
inline lock_and_drain()
{
#ifdef MUTATE_GENERATION_LATE
	if
	:: d_step { UNLOCKED -> lock = 1 }
	fi;
	do
	:: d_step { ring[0] != 0 -> COUNT_SEEN(0); RECEIVE(0); any = 1 }
	:: else -> break
	od;
	do
	:: d_step { ring[1] != 0 -> COUNT_SEEN(1); RECEIVE(1); any = 1 }
	:: else -> break
	od;
	if
	:: d_step { any -> moved = ALL_CORES; any = 0 }
	:: else
	fi
#else
	if
	:: d_step { UNLOCKED && ring[0] != 0 -> lock = 1; RECEIVE(0); moved = ALL_CORES }
		d_step { COUNT_SEEN(0) }
		do
		:: d_step { ring[0] != 0 -> RECEIVE(0); moved = ALL_CORES }
			d_step { COUNT_SEEN(0) }
		:: else -> break
		od
	:: d_step { UNLOCKED && ring[0] == 0 -> lock = 1 }
	fi;
	do
	:: d_step { ring[1] != 0 -> RECEIVE(1); moved = ALL_CORES }
		d_step { COUNT_SEEN(1) }
	:: else -> break
	od
#endif
}

/* Invocation j begins. */
#if LIMITED
#define RUN(j) \
	assert(!(ran & B(j)) && owned & B(me)); \
	ran = ran | B(j); \
	under_way = under_way + IS_LIMITED(j); \
	assert(under_way <= MAX)
#else
#define RUN(j) \
	assert(!(ran & B(j)) && owned & B(me)); \
	ran = ran | B(j)
#endif
#define FORGET(j) j = (LIMITED -> j : 0)
#define MAY_BE_LONG(j) (!IS_LIMITED(j) && longs + 1 < CORES)

/* wc_take_core() by the agent itself */
#ifdef MOVER
#define TAKE_BACK \
	s = shard[me]; \
	if \
	:: d_step { bits[s] & B(me) -> TAKEN(s, me); assert(own[me] == 0); s = 0 } \
		goto await \
	:: d_step { !(bits[s] & B(me)) -> s = 0 } \
	fi
#else
#define TAKE_BACK \
	if \
	:: d_step { bits[HOME(me)] & B(me) -> TAKEN(HOME(me), me); assert(own[me] == 0) } \
		goto await \
	:: else \
	fi
#endif

/* wc_pending_any() */
#define ANY(something) \
	if \
	:: queue -> goto something \
	:: else \
	fi; \
	if \
	:: flight[0] -> goto something \
	:: else \
	fi; \
	if \
	:: flight[1] -> goto something \
	:: else \
	fi

/* wc_pending_look() */
#define LOOK(something) \
	if \
	:: flight[0] -> goto something \
	:: else \
	fi; \
	if \
	:: flight[1] -> goto something \
	:: else \
	fi; \
	TRIAL(something) \
	if \
	:: CHANGED -> goto something \
	:: else \
	fi
#if LIMITED && !defined(MUTATE_NO_TRIALS)
#define TRIAL(something) \
	if \
	:: trials -> goto something \
	:: else \
	fi;
#define SETTLED (!trials || moved & B(me))
#else
#define TRIAL(something)
#define SETTLED true
#endif
#ifdef MUTATE_LOOK_AT_QUEUE
#define CHANGED queue
#else
#define CHANGED moved & B(me)
#endif

/* No label begins with "end": spin would let an agent stay there for ever. */
proctype agent(byte me)
{
	byte j, x;
#ifdef MOVER
	byte s;
#endif
#ifdef MUTATE_GENERATION_LATE
	bit any;
#endif
#ifdef BUSY
	if
	:: me == 0 ->
		j = 3;
		goto account
	:: else
	fi;
#endif
	goto free;

pick:
	/* wc_pending_pick() */
#ifdef EARLY
	if
	:: moved = moved & ~B(me)
	fi;
	ANY(pick_one);
	goto none;
pick_one:
#endif
	lock_and_drain();
#if LIMITED
	if
	:: moved = moved & ~B(me)
	fi;
choose:
	if
	:: d_step { queue & ~LIMITED -> j = LOW(queue & ~LIMITED); queue = queue & ~B(j) }
	:: queue & LIMITED && running < MAX ->
		COUNT(choose);
		d_step { j = LOW(queue & LIMITED); queue = queue & ~B(j); waiting-- }
	:: else ->
		if
		:: queue & LIMITED && running < MAX -> nudge()
		:: else
		fi;
		lock = 0;
		goto none
	fi;
	if
	:: queue & ~LIMITED || (queue & LIMITED && running < MAX) -> nudge()
	:: else
	fi;
	if
	:: d_step { lock = 0; RUN(j) }
	:: d_step { MAY_BE_LONG(j) -> lock = 0; RUN(j); longs++; j = 0 }
		goto run_long
	fi;
#else
	if
#ifdef MUTATE_NO_LOCK
	:: d_step { queue -> moved = moved & ~B(me); j = LOW(queue) }
		queue = queue & ~B(j);
#else
	:: d_step { queue -> moved = moved & ~B(me); j = LOW(queue); queue = queue & ~B(j) }
#endif
		if
		:: queue -> nudge()
		:: else
		fi;
		if
		:: d_step { lock = 0; RUN(j); FORGET(j) }
			goto after
		:: d_step { MAY_BE_LONG(j) -> lock = 0; RUN(j); longs++; j = 0 }
			goto run_long
		fi
	:: d_step { !queue -> moved = moved & ~B(me); lock = 0 }
		goto none
	fi;
#endif
account:
	/* it has run: wc_worker_account() */
#if LIMITED
	if
	:: IS_LIMITED(j) ->
		d_step { under_way--; running--; j = 0 }
		if
		:: waiting -> moved = ALL_CORES
		:: else
		fi
	:: else -> j = 0
	fi;
#endif
after:
#if defined(MUTATE_NO_SECOND_PICK)
	LOOK(pick);
	goto free;
#elif defined(EARLY)
	ANY(pick);
	goto none;
#else
	goto pick;
#endif
none:
	/*
	 * Nothing that it may run is there. While something is on its way, or has come since, it keeps its core: after the
	 * release a claimer may take that, and then nobody would look.
	 */
#if defined(MUTATE_LOOK_IN_FLIGHT)
	if
	:: flight[0] -> goto await
	:: else
	fi;
	if
	:: flight[1] -> goto await
	:: else
	fi;
#elif !defined(MUTATE_RELEASE_FIRST)
	LOOK(await);
#endif
free:
	release(me);
#ifdef MUTATE_NO_RECHECK
	goto sleep;
#endif
look:
	LOOK(take_back);
sleep:
	if
	:: d_step { own[me] -> wake = wake & ~B(me);
		assert(!((bits[0] | bits[1]) & B(me))); /* own_by_packet(): it was claimed for this packet */
		j = own[me] - 1; own[me] = 0; RUN(j); FORGET(j) }
		goto account
	:: d_step { own[me] && MAY_BE_LONG(own[me] - 1) -> wake = wake & ~B(me);
		j = own[me] - 1; own[me] = 0; RUN(j); longs++; j = 0 }
		goto run_long
	:: d_step { !own[me] && wake & B(me) -> wake = wake & ~B(me) }
		goto look
	:: !own[me] && ran == ALL_SENT -> goto done /* else, if nothing happens any more: an invalid end state */
	fi;
run_long:
	if
	:: d_step { ran == ALL_SENT -> longs-- }
		goto after
	fi;
take_back:
	TAKE_BACK;
	goto sleep;
await:
	/* wc_pending_await(). While a trial is under way C goes round and round; here it waits for what ends that. */
	if
	:: ring[0] || ring[1] || (!flight[0] && !flight[1] && SETTLED) -> goto pick
	fi;
done:
	skip
}

#ifdef MOVER
proctype mover()
{
	byte s;

	home[MOVER] = 1 - HOME(MOVER);
	s = shard[MOVER];
	if
	:: d_step { bits[s] & B(MOVER) -> TAKEN(s, MOVER); s = home[MOVER] }
		d_step { shard[MOVER] = s; idle = idle | B(MOVER) }
		d_step { PUT(s, MOVER) }
		announce(s, MOVER / BITS);
		s = 0;
#ifndef MUTATE_MOVER_NO_WAKE
		if
		:: flight[0] || queue & OF_SHARD(0)
		:: else ->
			if
			:: flight[1] || queue & OF_SHARD(1)
			:: else -> goto done
			fi
		fi;
		moved = ALL_CORES;
		wake = wake | B(MOVER)
#endif
	:: d_step { !(bits[s] & B(MOVER)) -> s = 0 }
	fi;
done:
	skip
}
#endif

#ifdef DRAINER
proctype drainer()
{
	byte x;
#ifdef MUTATE_GENERATION_LATE
	bit any;
#endif

	lock_and_drain();
	lock = 0
}
#endif

init
{
	byte c;

	atomic {
#ifdef BUSY
		running = 1;
		under_way = 1;
#endif
		for (c : 0 .. CORES - 1) {
#ifdef MOVER
			shard[c] = HOME(c);
			home[c] = HOME(c);
#endif
			run agent(c)
		}
		c = 0;
		run claimer(0);
#if SEND1
		run claimer(1);
#endif
#ifdef MOVER
		run mover();
#endif
#ifdef DRAINER
		run drainer();
#endif
	}
	_nr_pr == 1;
	assert(ran == ALL_SENT);
	assert(!owned && idle == ALL_CORES && (bits[0] | bits[1]) == ALL_CORES && !(bits[0] & bits[1]));
	assert(!queue && !ring[0] && !ring[1] && !flight[0] && !flight[1]);
#if LIMITED
	assert(!running && !waiting && !trials && !under_way);
#endif
#ifndef NO_HINT_CHECK
	for (c : 0 .. 1) {
		assert(!bits[c] || top & B(c));
		assert(!WORD(c, 0) || summary[c] & 1);
		assert(!WORD(c, 1) || summary[c] & 2)
	}
#endif
}
