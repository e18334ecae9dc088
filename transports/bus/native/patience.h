/* How long a reader looks for the next message before it lies down.
 *
 * Waking a process costs both sides tens of microseconds, and more where the processor itself has to be woken; looking
 * for a few costs nobody anything while nobody else wants the core. So a reader whose sleeps turn out short stays up
 * longer next time, one whose sleeps are long does not stay up at all: a conversation of questions and answers runs
 * without a doorbell, and an idle process costs nothing. Who gives a core to it has it stay up for `least` in any case.
 *
 * Pure: the time comes in, in nanoseconds.
 */
#ifndef BUS_PATIENCE_H
#define BUS_PATIENCE_H

#define PATIENCE_FIRST 20000
#define PATIENCE_SHORTEST 1000000 /* that others have a core that was given to us, once they wanted it ... */
#define PATIENCE_LONGEST 100000000 /* ... and at most, where they want it again soon after, and again */

typedef struct {
    long long limit;    /* the longest time to stay up, and how short a sleep must be to count as not worth having; 0: never */
    long long least;    /* the shortest time to stay up after a message, whatever the sleeps before were like; 0: none */
    long long span;     /* how long it stays up now */
    long long until;
    long long lay_down; /* when; 0 while it is up */
    long long away;     /* how long others have the core, the last time that they wanted it */
    long long again;    /* from when on `least` holds again */
} bus_patience;

static inline void patience_begins(bus_patience *p, long long limit, long long least) {
    p->limit = limit;
    p->least = p->span = least;
    p->away = p->again = 0;
}

static inline void patience_shrinks(bus_patience *p) { p->span = p->span > PATIENCE_FIRST ? p->span / 2 : 0; }

static inline void patience_is_least(bus_patience *p, long long now) {
    if (p->span < p->least && now >= p->again) p->span = p->least;
}

/* By a doorbell. One that rings while we are up says nothing. */
static inline void patience_woken(bus_patience *p, long long now) {
    if (!p->lay_down) return;
    if (now - p->lay_down < p->limit) {
        p->span = 2 * p->span < PATIENCE_FIRST ? PATIENCE_FIRST : 2 * p->span;
        if (p->span > p->limit) p->span = p->limit;
    } else {
        patience_shrinks(p);
    }
    patience_is_least(p, now);
    p->lay_down = 0;
}

/* Whether to look on; a message that came starts the wait anew. */
static inline int patience_lasts(bus_patience *p, long long now, int drained) {
    if (drained) p->until = now + p->span;
    return now < p->until;
}

/* Others want this core: not now, and less next time. Not never again, because they may be gone by then. Whoever was given it
 * is without it for a while, longer each time that they want it soon after: his next looks would only make him wait for his
 * turn, when a bell wakes him at once. */
static inline void patience_ends(bus_patience *p, long long now) {
    if (p->span > p->limit) p->span = p->limit;
    patience_shrinks(p);
    p->away = now - p->again < 2 * p->away ? 2 * p->away : PATIENCE_SHORTEST;
    if (p->away > PATIENCE_LONGEST) p->away = PATIENCE_LONGEST;
    p->again = now + p->away;
    p->until = 0;
}

#endif
