/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * line.pml - the protocol of lines (runtimes/abi/line.h) as a model for the checker spin: a caller, the instance that it calls, and the agent.
 * test_model.sh checks it, and that it can fail: with each MUTATE_... one thing is wrong, and spin has to notice.
 *
 * What is checked, in every order in which the steps can happen:
 *   (a) No call of a caller that keeps to the rules runs twice: on the line, by the agent after it was not taken, or both.
 *   (b) A caller that lives gets each answer once, and that of the call it waits for.
 *   (c) Nobody waits for ever but the called instance for its next request: an "invalid end state" else.
 *   (d) What the agent has counted when the line has ended is what has run on it.
 *   (e) After the line has ended the called instance does what the agent asks of it, and nothing else.
 *
 * The processes, and what they are in C. One step is one read or one atomic operation on shared words.
 *   caller   wc_client_call() of runtimes/native/channel.c, wc_line_call(), wc_line_await(). It loses its patience at any moment, and may die while it
 *            waits (DIES). HOSTILE: it writes to the line whenever it likes, as often as it has STRAYS left
 *   called   wc_line_wait(), take_call(), wc_line_answer(), wc_line_hand_over() of runtimes/native/line.c. Whether it calls something itself is
 *            chosen each time. It never dies
 *   agent    wc_line_take_over(), wc_line_end() of user/line.c, wc_instance_adopt(); afterwards one invocation of another client
 *
 * The words: `line` is wc_channel.line; call and reply are the sequences in struct wc_line, kind that of the reply; request and answer the
 * sequences in the called instance's own channel; log is wc_line_log.count. says and told are the channel between caller and agent, of which only
 * the order matters. Numbers of lines are left out: there is one. Waiting for a word to change is one step: that futexes lose no wake-up is runtimes/abi/channel_futex.h's business.
 */
#ifndef CALLS
#define CALLS 2
#endif
#ifndef STRAYS
#define STRAYS 0
#endif

mtype = { OFF, ARMED, RUNNING, ADOPTED, DROPPED };
mtype = { NOTHING, HOW_LINE, ANSWERED, ON_IT, NOT_TAKEN, RESULT, REPLY, CALL };

mtype line = OFF, kind = NOTHING, says = NOTHING, told = NOTHING;
byte call, reply, request, answer, log; /* 0 */
byte ran[8], on_line, counted, others;
byte asked; /* with HOW_LINE: how many calls the caller has made */
byte strays = STRAYS;
bool offered;
bool gone; /* the caller has answered its own invocation, or died */
bool over; /* the line has ended for good */

#define CAS(from, to, changed) d_step { changed = (line == from); if :: line == from -> line = to :: else fi }

active proctype caller()
{
	byte called, waits;
	bool open = true;

	offered; /* the RESULT has come that offers it */
	do
	:: waits < CALLS ->
		waits++;
		if
		:: open ->
			atomic { call++; called = call }
			do
			:: reply == called ->
				if
				:: kind == CALL -> goto takeover
				:: else -> break
				fi
			:: goto takeover /* no patience */
#ifdef DIES
			:: goto leave
#endif
			od
		:: else ->
by_agent:
			atomic {
				ran[waits]++;
				assert(ran[waits] == 1 || strays != STRAYS)
			}
		fi;
		goto next;
takeover:
		atomic { asked = waits; says = HOW_LINE }
		if
		:: told != NOTHING
#ifdef DIES
		:: goto leave
#endif
		fi;
		if
		:: told == ON_IT ->
			told = NOTHING;
			if /* it comes without the agent */
			:: reply == called && kind == REPLY -> goto next
			:: goto takeover
			fi
		:: told == ANSWERED -> told = NOTHING; open = false
		:: told == NOT_TAKEN -> told = NOTHING; open = false; goto by_agent
		fi;
next:
		skip
	:: waits == CALLS -> break
	od;
leave:
	gone = true
}

#if STRAYS
active proctype hostile()
{
end:	do
	:: atomic { strays > 0 -> strays--; call++ }
	od
}
#endif

active proctype called()
{
	byte taken, sequence;
	bool in = true, done;

end:	do
	:: request != sequence -> /* the agent comes first */
		sequence = request;
		atomic { others++; assert(over) }
		answer = sequence
	:: in && call != taken && request == sequence ->
		taken = call;
#ifdef MUTATE_TAKE_ALWAYS
		line = RUNNING;
		done = true;
#else
		CAS(ARMED, RUNNING, done);
#endif
		if
		:: !done ->
			CAS(OFF, DROPPED, done);
			if
			:: !done -> CAS(ARMED, DROPPED, done)
			:: else
			fi;
			in = false
		:: else ->
			atomic {
				on_line++;
				if
				:: strays == STRAYS && taken < 8 -> ran[taken]++; assert(ran[taken] == 1)
				:: else
				fi
			}
			if
			:: true -> /* it calls something itself */
				kind = CALL;
				reply = taken;
				goto adopted
			:: true
			fi;
#ifndef MUTATE_LOG_LATE
			log++;
#endif
			CAS(RUNNING, ARMED, done);
			if
			:: done ->
#ifdef MUTATE_LOG_LATE
				log++;
#endif
				kind = REPLY;
				reply = taken;
				goto ran_it
			:: else ->
#ifndef MUTATE_LOG_LATE
				log--
#endif
			fi;
adopted:
			request != sequence;
			sequence = request;
			answer = sequence;
ran_it:
			skip
		fi
	od
}

active proctype agent()
{
	bool done;
	byte sequence, noted;
	bool drops = false;

	line = ARMED;
	offered = true;
again:
	says != NOTHING || gone;
	if
	:: says == HOW_LINE && !gone ->
		says = NOTHING;
		drops = false;
look:
		skip;
#ifdef MUTATE_TWO_LOOKS
		CAS(RUNNING, ADOPTED, done);
		if
		:: done -> goto adopt
		:: else
		fi;
		if
		:: line == ARMED -> told = ON_IT; goto again
		:: else -> goto end_line
		fi
#else
		if
		:: line == ARMED ->
#ifdef MUTATE_LOG_FIRST
			noted = log;
#endif
			CAS(ARMED, OFF, done);
			if
			:: done ->
#ifndef MUTATE_LOG_FIRST
				noted = log;
#endif
				if
				:: noted < asked -> goto end_line /* it was not taken */
				:: else
				fi;
				CAS(OFF, ARMED, done);
				told = ON_IT;
				goto again
			:: else -> goto look
			fi
		:: line == RUNNING ->
			CAS(RUNNING, ADOPTED, done);
			if
			:: done -> goto adopt
			:: else -> goto look
			fi
		:: line == OFF || line == DROPPED -> goto end_line
		fi
#endif
	:: gone ->
		if
		:: over -> goto after
		:: else
		fi;
		drops = true
	fi;
end_line:
	skip;
#ifdef MUTATE_END_STORE
	line = OFF;
#else
	if
	:: line == ARMED ->
		CAS(ARMED, OFF, done);
		if
		:: done
		:: else -> goto end_line
		fi
	:: line == RUNNING ->
#ifdef MUTATE_END_WITHOUT_IT
		skip
#else
		CAS(RUNNING, ADOPTED, done);
		if
		:: done -> goto adopt
		:: else -> goto end_line
		fi
#endif
	:: line == OFF || line == DROPPED
	fi;
#endif
	counted = counted + log;
	over = true;
	if
	:: !drops -> told = NOT_TAKEN; goto again
	:: else -> goto after
	fi;
adopt:
#ifdef MUTATE_COUNT_EARLY
	counted = counted + log;
#endif
	sequence = request + 1;
	request = sequence;
	answer == sequence;
#ifndef MUTATE_COUNT_EARLY
	counted = counted + log;
#endif
	counted++;
	over = true;
	line = OFF;
	if
	:: !drops -> told = ANSWERED; goto again
	:: else
	fi;
after:
	/* Another client's. */
	assert(counted == on_line);
	sequence = request + 1;
	request = sequence;
	answer == sequence;
	assert(others == 1 && counted == on_line)
}
