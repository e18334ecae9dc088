/* The memory layout of the bus: every byte that two processes share is declared here, and nowhere else.
 *
 * Four kinds of segment, each a memfd. All numbers are native little-endian, aligned to their size; positions are
 * 64-bit, count bytes since the segment was made and never wrap. Words written by different sides never share a
 * cache line.
 *
 * RING: one writer, any number of readers (broadcast) or one (pair). Written by its writer, read-only for all others.
 *
 *     0        64        128       192            4096                                    4096 + capacity
 *     +--------+---------+---------+-- ... -------+----------------------------------------+
 *     | common | oldest  | tail    | (zero)       | records, each a multiple of 8 bytes    |
 *     +--------+---------+---------+-- ... -------+----------------------------------------+
 *
 *     A record at position p lives at offset p % capacity and never wraps: what is left at the end is a PAD.
 *     Write: store oldest (so that no reader trusts what is about to be overwritten), release fence, copy the record,
 *     release-store tail. Read: acquire-load tail, copy the record, acquire fence, load oldest: if it has passed
 *     the record, the copy is discarded and the reader was lapped. `oldest` is always the start of a record.
 *
 *     record   0      4       6         8       16        20        24        28         32
 *              +------+-------+---------+-------+---------+---------+---------+----------+--------+----------+------+
 *              | size | flags | topic   | seq   | envelope| body    | zero              | topic  | envelope | body |
 *              | u32  | u16   | len u16 | u64   | len u32 | len u32 |                   |        |          |      |
 *              +------+-------+---------+-------+---------+---------+-------------------+--------+----------+------+
 *
 * PAGE: what one member tells all others. Written by its member, read-only for all others.
 *
 *     0        64       128                4096                      4096 + 1024 * 128
 *     +--------+--------+--------+-- ... --+-------------------------+
 *     | common | parked | spin   | (zero)  | one entry per peer slot |
 *     +--------+--------+--------+-- ... --+-------------------------+
 *
 *     `parked` is odd while the member sleeps and changes each time it lies down, so that a sender rings once per sleep.
 *     entry    broadcast: uid of the ring, position read, last seq handled, messages lost, the last gaps, large payload let go
 *              pair: uid of the ring from that peer, position read, large payload let go; uid of our ring if we wait for room
 *
 * BELL: who of a shard of 64 members sleeps. Written by the members of the shard, read-only for publishers outside it.
 *
 *     0        64                  128
 *     +--------+-------------------+
 *     | common | sleepers | parks  |     sleepers: one bit a member; parks: grows each time a member lies down
 *     +--------+-------------------+
 *
 * LARGE: a payload above the record limit, re-used. Written by its owner, read-only for all others.
 *
 *     0        64                  4096                 4096 + capacity
 *     +--------+-------------------+--------------------+
 *     | common | generation        | payload            |   odd generation: being written
 *     +--------+-------------------+--------------------+
 */
#ifndef BUS_LAYOUT_H
#define BUS_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define BUS_MAGIC UINT64_C(0x535542454d334854) /* "TH3MEBUS" */
#define BUS_LAYOUT_VERSION 1u
#define BUS_LINE 64
#define BUS_HEADER 4096
#define BUS_SLOTS 1024
#define BUS_SHARD 64
#define BUS_GAPS 3
#define BUS_LISTED (BUS_GAPS - 1) /* gaps that others may read; the next one is written over the oldest */

enum bus_kind { BUS_RING = 1, BUS_PAGE = 2, BUS_BELL = 3, BUS_LARGE = 4 };
enum bus_flags { BUS_PAD = 1, BUS_DATA = 2, BUS_REFERENCE = 4, BUS_BINARY = 8 };

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;
    uint64_t capacity; /* bytes after the header */
    uint64_t uid;      /* of the segment; never used twice */
    uint32_t owner;    /* slot of the member that made it */
    uint32_t zero[7];
} bus_common;

typedef struct {
    bus_common common;
    _Alignas(BUS_LINE) _Atomic uint64_t oldest;
    _Alignas(BUS_LINE) _Atomic uint64_t tail;
} bus_ring;

typedef struct {
    uint32_t size;
    uint16_t flags;
    uint16_t topic;
    uint64_t seq;
    uint32_t envelope;
    uint32_t body;
    uint64_t zero;
} bus_record;

typedef struct {
    _Atomic uint64_t ring; /* uid of the broadcast ring that the next words are about */
    _Atomic uint64_t position;
    _Atomic uint64_t handled;
    _Atomic uint64_t lost;
    _Atomic uint64_t pair; /* uid of the ring from that peer to us */
    _Atomic uint64_t pair_position;
    _Atomic uint64_t waiting_on; /* uid of our ring to that peer while we wait for room in it, else 0 */
    _Atomic uint64_t gaps;       /* how many there were; the last BUS_LISTED can be read below */
    _Atomic uint64_t released;      /* number of the last large payload of the ring that we no longer read */
    _Atomic uint64_t pair_released; /* the same for the pair */
    struct {
        _Atomic uint64_t first;
        _Atomic uint64_t last;
    } gap[BUS_GAPS];
} bus_entry;

typedef struct {
    bus_common common;
    _Alignas(BUS_LINE) _Atomic uint64_t parked;
    _Alignas(BUS_LINE) _Atomic uint64_t spin; /* nanoseconds that the member stays up after each message; for people */
    _Alignas(BUS_HEADER) bus_entry entry[BUS_SLOTS];
} bus_page;

typedef struct {
    bus_common common;
    _Alignas(BUS_LINE) _Atomic uint64_t sleepers;
    _Atomic uint64_t parks;
} bus_bell;

typedef struct {
    bus_common common;
    _Alignas(BUS_LINE) _Atomic uint64_t generation;
} bus_large;

_Static_assert(sizeof(bus_common) == BUS_LINE, "the common header is one line");
_Static_assert(offsetof(bus_ring, oldest) == 64 && offsetof(bus_ring, tail) == 128, "ring header");
_Static_assert(sizeof(bus_record) == 32, "record header");
_Static_assert(sizeof(bus_entry) == 128, "page entry");
_Static_assert(offsetof(bus_page, parked) == 64 && offsetof(bus_page, entry) == BUS_HEADER, "page");
_Static_assert(offsetof(bus_bell, sleepers) == 64, "bell");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics are lock-free");

#define BUS_ALIGN(n) (((n) + 7u) & ~(uint64_t)7u)

#endif
