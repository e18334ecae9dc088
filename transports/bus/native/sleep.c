/* Lying down and standing up, so that no wake-up is missed, and looking a little longer before. */
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "pump.h"

#define LOOKS 8        /* before the core is offered to others */
#define CROWDED 200000 /* nanoseconds without the core: more than the sender of the awaited message alone would take */

void bus_handled(Pump *self) {
    for (size_t i = 0; i < self->count; i++) {
        reader *r = self->readers[i];
        if (r->pair || r->paused || r->handled == r->next - 1) continue;
        r->handled = r->next - 1;
        atomic_store_explicit(&r->entry->handled, r->handled, memory_order_release);
    }
}

int bus_pending(const Pump *self) {
    for (size_t i = 0; i < self->count; i++) {
        const reader *r = self->readers[i];
        if (r->broken == BROKEN_TOLD || r->paused || (tail_of(r) == r->position && !r->broken)) continue;
        if (r->pair || self->listening) return 1;
    }
    return 0;
}

long long bus_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How often another got this thread's core while it was running, or offered the core. */
static long given_away(void) {
    struct rusage used;
    return getrusage(RUSAGE_THREAD, &used) < 0 ? 0 : used.ru_nivcsw;
}

/* For more, so many nanoseconds, without lying down. Who spins has been given the core: that it was away for a while says that
 * others want it only if they had it, and not if the host of a virtual machine took the core itself. */
enum look bus_look(Pump *self, long long nanoseconds) {
    int found = bus_pending(self), crowded = 0;
    if (!found) {
        atomic_fetch_add(&self->looking, 1);
        Py_BEGIN_ALLOW_THREADS
        long long at = bus_now(), until = at + nanoseconds;
        long before = self->patience.least ? given_away() : -1;
        do {
            for (int i = 0; i < LOOKS && !found; i++) {
                relax();
                found = bus_pending(self);
            }
            if (found) break;
            sched_yield();
            long long then = at;
            at = bus_now();
            found = bus_pending(self);
            crowded = !found && at - then > CROWDED && (before < 0 || given_away() > before);
        } while (!found && !crowded && at < until && !atomic_load_explicit(&self->hurry, memory_order_relaxed));
        atomic_fetch_sub(&self->looking, 1);
        Py_END_ALLOW_THREADS
    }
    return found ? LOOK_MORE : crowded ? LOOK_CROWDED : LOOK_NOTHING;
}

/* Until nobody looks: another thread is about to change what is looked at. Who looks needs no GIL to end, and we keep it. */
void bus_end_look(Pump *self) {
    if (atomic_load(&self->looking) == 0) return;
    atomic_store(&self->hurry, 1);
    while (atomic_load(&self->looking) > 0) sched_yield();
    atomic_store(&self->hurry, 0);
}

void bus_stand_up(Pump *self) {
    if (self->listening) atomic_fetch_and(&self->bell->sleepers, ~self->bit);
    uint64_t parked = atomic_load_explicit(&self->page->parked, memory_order_relaxed);
    if (parked & 1) atomic_store(&self->page->parked, parked + 1);
}

/* Go to sleep. 1: all writers see it, and how far this reader got, and nothing waits. 0: there is more, so it is awake. */
int bus_park(Pump *self) {
    bus_handled(self);
    if (self->listening) {
        atomic_fetch_or(&self->bell->sleepers, self->bit);
        atomic_fetch_add(&self->bell->parks, 1);
    }
    uint64_t parked = atomic_load_explicit(&self->page->parked, memory_order_relaxed);
    atomic_store(&self->page->parked, parked + 1 + (parked & 1));
    bus_reach(STEP_PARK_SAID);
    atomic_thread_fence(memory_order_seq_cst);
    if (!bus_pending(self)) return 1;
    bus_stand_up(self);
    return 0;
}
