/* Ringing a doorbell so that no other member can hold us up.
 *
 * A doorbell is an eventfd that its owner and all who ring it share, and with it what the kernel keeps about it: any of
 * them may fill its counter, or take O_NONBLOCK from it, at any moment. write() waits then, and no look before it helps.
 * The kernel itself signals an eventfd without ever waiting, also one that is full, when an asynchronous read ends
 * (IOCB_FLAG_RESFD), and refuses to do so with what is no eventfd. So a read that ends within the call is what rings: of no
 * bytes, from the doorbell itself. Where that cannot be had, the doorbell is looked at before it is written to: that a member
 * can still defeat, if it acts between the two.
 */
#include "native.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __has_include
#if __has_include(<linux/aio_abi.h>) && defined(SYS_io_submit)
#include <linux/aio_abi.h>
#define HAVE_AIO
#endif
#endif

/* One that is full is emptied first, which cannot wait: nobody reads it for its count. */
static void write_unless_full(int fd) {
    uint64_t one = 1, count;
    struct iovec to = {&count, sizeof count};
    struct pollfd bell = {.fd = fd, .events = POLLOUT};
    for (int attempt = 0; attempt < 2; attempt++) {
        if (poll(&bell, 1, 0) > 0 && bell.revents & POLLOUT) {
            if (write(fd, &one, sizeof one) > 0 || errno != EINTR) return;
        } else if (preadv2(fd, &to, 1, -1, RWF_NOWAIT) < 0) {
            return;
        }
    }
}

static int is_called_eventfd(int fd) {
    static const char wanted[] = "anon_inode:[eventfd]";
    char path[64], kind[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(path, kind, sizeof kind);
    return size == (ssize_t)sizeof wanted - 1 && memcmp(kind, wanted, sizeof wanted - 1) == 0;
}

#ifdef HAVE_AIO

#define MAGIC 0xa10a10a1u
#define NO_SUCH_FLAG 0x40000000

/* Where the kernel tells what has ended, mapped into this process: a context is known by the address of its ring. */
typedef struct {
    unsigned int id, size;
    _Atomic unsigned int head, tail;
    unsigned int magic, compatible, incompatible, header;
} ended;

/* Guarded by the GIL. */
static aio_context_t context; /* 0: this kernel has none for us */
static pid_t owner;           /* of the context: a child of a fork has no part in it */

/* From `fd`, signalling it: 0, or an errno. */
static int read_nothing(int fd, int flags) {
    struct iocb nothing = {.aio_lio_opcode = IOCB_CMD_PREAD,
                           .aio_fildes = (uint32_t)fd,
                           .aio_flags = IOCB_FLAG_RESFD,
                           .aio_resfd = (uint32_t)fd,
                           .aio_rw_flags = flags};
    struct iocb *all[] = {&nothing};
    long submitted;
    do {
        submitted = syscall(SYS_io_submit, context, 1L, all);
    } while (submitted < 0 && errno == EINTR);
    if (submitted != 1) return submitted < 0 ? errno : EAGAIN;
    ended *ring = (ended *)context;
    atomic_store_explicit(&ring->head, atomic_load_explicit(&ring->tail, memory_order_relaxed), memory_order_relaxed);
    return 0;
}

/* Nothing is signalled: flags that no kernel knows are refused, but of what is no eventfd that is said before. */
static int takes_signals(int fd) { return read_nothing(fd, NO_SUCH_FLAG) == EOPNOTSUPP; }

static int does_as_described(void) {
    int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (bell < 0) return 0;
    uint64_t count = 0;
    int does = ((ended *)context)->magic == MAGIC && takes_signals(bell) && read_nothing(bell, 0) == 0 &&
               read(bell, &count, sizeof count) == sizeof count && count == 1;
    close(bell);
    return does;
}

static int has_context(void) {
    if (owner != 0) return context != 0;
    owner = getpid();
    if (syscall(SYS_io_setup, 1L, &context) != 0) {
        context = 0;
    } else if (!does_as_described()) {
        syscall(SYS_io_destroy, context);
        context = 0;
    }
    return context != 0;
}

/* Whether it is to be tried again, in a child of a fork. */
static int was_inherited(void) {
    if (owner == getpid()) return 0;
    owner = 0;
    context = 0;
    return 1;
}

void bus_wake(int fd) {
    while (has_context()) {
        if (read_nothing(fd, 0) != EINVAL || !was_inherited()) return;
    }
    write_unless_full(fd);
}

int bus_is_doorbell(int fd) {
    while (has_context()) {
        if (takes_signals(fd)) return 1;
        if (!was_inherited()) return 0;
    }
    return is_called_eventfd(fd);
}

#else

void bus_wake(int fd) { write_unless_full(fd); }

int bus_is_doorbell(int fd) { return is_called_eventfd(fd); }

#endif
