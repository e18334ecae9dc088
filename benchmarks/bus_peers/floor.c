/* What the kernel alone takes to wake processes as the bus does: an eventfd, watched edge-triggered through an epoll.
 *
 *     floor wake READERS SHARE    one writer wakes so many processes; SHARE of them watch one eventfd
 *     floor ping SEATS            two processes answer each other, on SEATS cores: 1 or 2
 *
 * Each line of input, "COUNT PAUSE NAP" (times in nanoseconds), asks for so many rounds, each PAUSE after the one before. A line
 * of output holds, for each round, the time until the bells were rung, until the first process was up and until the last was;
 * of ping, until the answer was there, as both. The writer sleeps NAP before it looks whether all are up, as the publishers of the other subjects do.
 * Processes stamp the time and do nothing else. They end with their input.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define MOST 1024
#define PATIENCE 20000000000LL /* nanoseconds for a round */

typedef struct {
    _Alignas(64) _Atomic long long at; /* when its process was up; 0: not yet */
} stamp;

static stamp *stamps;

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void rest(long long nanoseconds) {
    struct timespec t = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    if (nanoseconds > 0) nanosleep(&t, NULL);
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* On core number `place` of those that we may use; numbers after the last begin again. */
static void seat(int place) {
    cpu_set_t ours, one;
    if (sched_getaffinity(0, sizeof ours, &ours) < 0) fail("sched_getaffinity");
    place %= CPU_COUNT(&ours);
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &ours) && place-- == 0) CPU_SET(cpu, &one);
    }
    if (sched_setaffinity(0, sizeof one, &one) < 0) fail("sched_setaffinity");
}

static int make_bell(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) fail("eventfd");
    return fd;
}

static int watch(int bell) {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = bell};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, bell, &event) < 0) fail("epoll");
    return epoll;
}

static void wait_for(int epoll) {
    struct epoll_event event;
    while (epoll_wait(epoll, &event, 1, -1) != 1) {
    }
}

static void ring(int bell) {
    uint64_t one = 1;
    if (write(bell, &one, sizeof one) != sizeof one) fail("write");
}

/* In a child, which ends with us. 1: we are the child. */
static int forked(void) {
    pid_t parent = getpid(), child = fork();
    if (child < 0) fail("fork");
    if (child > 0) return 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    return 1;
}

static void be_up(int place) { atomic_store_explicit(&stamps[place].at, now(), memory_order_release); }

static void until_all_are_up(int count, long long nap) {
    long long until = now() + PATIENCE;
    for (int place = 0; place < count; place++) {
        while (atomic_load_explicit(&stamps[place].at, memory_order_acquire) == 0) {
            if (now() > until) {
                fprintf(stderr, "process %d was not woken\n", place);
                exit(1);
            }
            rest(nap);
        }
    }
}

static void clear(int count) {
    for (int place = 0; place < count; place++) atomic_store_explicit(&stamps[place].at, 0, memory_order_relaxed);
}

/* From `started` until all bells were rung, and the first and the last process were up. */
static void say(int count, long long started, long long rung) {
    long long first = stamps[0].at, last = first;
    for (int place = 1; place < count; place++) {
        long long at = stamps[place].at;
        if (at < first) first = at;
        if (at > last) last = at;
    }
    printf("%lld %lld %lld ", rung - started, first - started, last - started);
}

static void serve(void (*round)(int count, long long nap), int count) {
    int rounds;
    long long pause, nap;
    while (scanf("%d %lld %lld", &rounds, &pause, &nap) == 3) {
        for (int i = 0; i < rounds; i++) {
            rest(pause);
            round(count, nap);
        }
        printf("\n");
        fflush(stdout);
    }
}

/* --- wake --- */
static int bells[MOST], bell_count;

static void wake(int readers, long long nap) {
    clear(readers);
    long long started = now();
    for (int i = 0; i < bell_count; i++) ring(bells[i]);
    long long rung = now();
    rest(nap);
    until_all_are_up(readers, nap);
    say(readers, started, rung);
}

static void wake_readers(int readers, int share) {
    for (int place = 0; place < readers; place++) {
        if (place % share == 0) bells[bell_count++] = make_bell();
        if (!forked()) continue;
        seat(place);
        int epoll = watch(bells[bell_count - 1]);
        for (;;) {
            be_up(place);
            wait_for(epoll);
        }
    }
    until_all_are_up(readers, 1000000);
    serve(wake, readers);
}

/* --- ping --- */
static int ours, theirs;

static void ping(int epoll, long long nap) {
    (void)nap;
    long long started = now();
    ring(theirs);
    long long rung = now();
    wait_for(epoll);
    be_up(0);
    say(1, started, rung);
}

static void ping_another(int seats) {
    ours = make_bell();
    theirs = make_bell();
    int epoll = watch(ours);
    if (forked()) {
        seat(seats - 1);
        int there = watch(theirs);
        for (be_up(0);; ring(ours)) wait_for(there);
    }
    seat(0);
    until_all_are_up(1, 1000000);
    serve(ping, epoll);
}

int main(int count, char **words) {
    int number = count > 2 ? atoi(words[2]) : 0, share = count > 3 ? atoi(words[3]) : 1;
    if (number < 1 || number > MOST || share < 1) {
        fprintf(stderr, "floor wake READERS SHARE, or floor ping SEATS\n");
        return 2;
    }
    stamps = mmap(NULL, MOST * sizeof *stamps, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (stamps == MAP_FAILED) fail("mmap");
    if (strcmp(words[1], "wake") == 0) {
        wake_readers(number, share);
    } else {
        ping_another(number);
    }
    return 0;
}
