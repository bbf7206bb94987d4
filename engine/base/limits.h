// Every bound of the engine, each with the reason for its size. What happens at a bound is written
// where it is enforced, and tested: refuse, defer or close; never grow.
//
// Bounds of a protocol's grammar stand with the parser that enforces them (engine/smtp/command.h).

#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::limits {

// Message ids keep the shard in 8 bits.
inline constexpr int kShardsMax = 256;

// Messages that a shard keeps: a slot of 80 bytes (delivery/kept.h). Beyond: 452 to the injector.
inline constexpr uint32_t kMessagesPerShardMax = 1 << 24;

// One for each destination of a message, of 104 bytes; more than messages, since a message has many
// recipients.
inline constexpr uint32_t kParcelsPerShardMax = 1 << 25;

// Messages that are in memory with their envelope, some 600 bytes and its strings: those being
// tried, and others for as long as there is room. Beyond: what is due waits, and 452 to the
// injector when what arrives during one sync fills all of it.
inline constexpr uint32_t kResidentMessagesPerShardMax = 1 << 16;

// Parcels that are out at their destinations' shards: more than connections can carry, so that none
// runs dry.
inline constexpr uint32_t kParcelsOutPerShardMax = 1 << 16;

// Of both, one in so many is kept for bounces: a shard that is full of mail to be bounced could
// otherwise never end any of it.
inline constexpr uint32_t kShareKeptForBounces = 16;

// Destinations with mail, connections, or counted recipients. Beyond: the parcel waits at home for
// its next retry.
inline constexpr uint32_t kDestinationsPerShardMax = 1 << 20;

// Of all destinations: one for each pool of sources by which mail for it leaves. Beyond: as above.
inline constexpr uint32_t kLanesPerShardMax = 1 << 21;

// Destinations that a shard counts the outcomes of, for operators. Beyond: they are counted
// together.
inline constexpr uint32_t kCountedDestinationsMax = 1 << 20;

// Windows of recipient limits that a shard keeps in its log, one for each scope with a limit: their
// records, of a kilobyte at most, fit one segment. Beyond: mail of another scope waits until one is
// a period old.
inline constexpr uint32_t kWindowsPerShardMax = 1 << 16;

// Both sides of a relay need a descriptor a session: 20,000 descriptors (the limit this was built
// under) leave room for 2 x 8,000 and the log files on one shard; shards share the process's limit.
inline constexpr uint32_t kIntakeSessionsPerShardMax = 8000;
inline constexpr uint32_t kDeliveryConnectionsPerShardMax = 8000;

// Recipients of one transaction that we send: RFC 5321 4.5.3.1.8 obliges every server to take 100.
inline constexpr uint32_t kRecipientsPerTransactionMax = 100;

// Recipients of one message that we accept: ten times what RFC 5321 asks for.
inline constexpr uint32_t kRecipientsPerMessageMax = 1000;

// Bodies are kept in blocks. A typical message (10 KB) fits one; a block is also the unit of
// sending and of the log's gathered writes.
inline constexpr size_t kBodyBlockBytes = 16 << 10;

// Body memory of a shard: 256 MiB holds 16,000 typical messages in flight. Beyond three quarters a
// new body stays only in the place of one that waits, or is read back (home_bodies.cc); full: 452.
inline constexpr uint32_t kBodyBlocksPerShard = 16 << 10;

// A body up to this is read back whole, once for all destinations that want it, and kept in memory
// while somebody has it. A larger one never is: each delivery streams it out of the log, through a
// ring that is half as large (delivery/body_stream.h). Beyond so many at a time, parcels with large
// bodies wait at home; their rings are a quarter of the body memory.
inline constexpr uint64_t kBodyBytesInMemoryMax = 1 << 20;
inline constexpr uint32_t kBodyStreamsPerShardMax = 128;

// A session's body that is not yet in the log: more than this is handed to the log before its end,
// so that a large message does not need its size in memory.
inline constexpr uint32_t kBodyBlocksBeforeLog = 16;

// Of a body that arrives, what the log has been handed and has not synced yet: what one sync covers
// while as much gathers for the next, which keeps a disk busy. Beyond, the client waits. So it does
// with any of it unsynced while half of the shard's body memory is taken: a slow disk delays large
// messages, and does not have them refused.
inline constexpr uint64_t kBodyBytesUnsyncedMax = 2 << 20;

// A client that sends on while we sync has its receive paused beyond this.
inline constexpr size_t kPausedInputBytesMax = 64 << 10;

// Of a server's reply, what is kept with a recipient until the message is done.
inline constexpr size_t kReplyTextBytesMax = 1024;

// The largest message that a listener may allow: a body of 1 GiB and its header. It goes to the log
// and out of it in pieces, so that its price is its size in the spool and a list of some thousand
// places there, of less than 100 KB.
inline constexpr uint64_t kMessageBytesMax = (uint64_t{1} << 30) + (uint64_t{64} << 20);

// Hosts and addresses of one route that are looked at, and tried in one attempt (Postfix's
// smtp_mx_address_limit is 5).
inline constexpr size_t kRouteHostsMax = 100;
inline constexpr size_t kRouteAddressesTriedMax = 5;

// Received lines on arrival that mean a loop; RFC 5321 6.3 asks for at least 100.
inline constexpr int kReceivedHopsMax = 100;

// A new connection to a destination is worth opening when this many messages wait for each one that
// is being opened: below, the ones there will have taken them first.
inline constexpr uint32_t kMessagesWorthAConnection = 4;

}  // namespace sluice::limits
