// Arriving: bodies and promises.

#include "engine/delivery/home.h"

#include <algorithm>
#include <array>

#include "engine/base/check.h"
#include "engine/base/xxh3.h"

namespace sluice::delivery {
namespace {

using smtp::EnvelopeRecipient;

// A piece of a body in one log record: well under the record's bound, and a whole number of blocks.
// Less where segments are short.
constexpr uint64_t kBodyPieceBlocks = 32;
static_assert(kBodyPieceBlocks * limits::kBodyBlockBytes + 64 < spool::kRecordPayloadBytesMax);

// What may be out, or be read to go out. The rest of the slots is for what arrives, is moved, or is
// bounced.
uint32_t ActiveMax(const Home::Options& options) {
  return std::max<uint32_t>(1, std::min(options.residents_max, options.out_max) / 4 * 3);
}

// Most have one, or all of one destination: what sorts them would take memory for that, too.
void SortByDestination(std::vector<EnvelopeRecipient>& recipients) {
  const auto before = [](const EnvelopeRecipient& a, const EnvelopeRecipient& b) {
    return a.destination < b.destination;
  };
  if (std::is_sorted(recipients.begin(), recipients.end(), before)) return;
  std::stable_sort(recipients.begin(), recipients.end(), before);
}

}  // namespace

Home::Home(const Options& options, io::Io& io, spool::Log& log, TimerWheel& timers, Random& random,
           EventSink& events)
    : options_(options),
      io_(io),
      log_(log),
      timers_(timers),
      random_(random),
      events_(events),
      ids_(static_cast<uint8_t>(options.shard)),
      pool_(options.body_blocks),
      incoming_(options.incoming_max),
      kept_messages_(options.messages_max),
      kept_parcels_(options.parcels_max),
      messages_(options.residents_max),
      parcels_(options.out_max),
      reader_(io, log, pool_),
      mover_(io, log),
      records_(io, log),
      active_max_(ActiveMax(options)) {}

// A bounce ends the recipients that it reports, and they may be all that a full shard is waiting
// for: some slots, and half of the log's reserve, are kept for bounces.
bool Home::HasRoom(Origin origin, uint32_t messages, uint32_t parcels, uint64_t log_bytes,
                   Now now) {
  const bool bounce = origin == Origin::kBounce;
  const uint32_t share = limits::kShareKeptForBounces;
  const uint32_t messages_kept = bounce ? 0 : kept_messages_.capacity() / share;
  const uint32_t parcels_kept = bounce ? 0 : kept_parcels_.capacity() / share;
  if (messages + messages_kept > kept_messages_.capacity()) return false;
  if (parcels + parcels_kept > kept_parcels_.capacity()) return false;
  return bounce ? log_.MayMove(log_bytes, now.wall) : log_.MayAccept(log_bytes, now.wall);
}

Incoming* Home::Begin(Origin origin, Now now) {
  if (pool_.taken() == pool_.capacity() && !Squeeze()) return nullptr;
  const uint32_t messages = kept_messages_.taken() + incoming_.taken() + 1;
  if (!HasRoom(origin, messages, 0, limits::kBodyBlockBytes, now)) return nullptr;
  Incoming* incoming = incoming_.Take();
  if (incoming == nullptr) return nullptr;
  incoming->origin = origin;
  incoming->id = ids_.Next(now.wall);
  CHECK(incoming->body.empty());
  incoming->logged_bytes = 0;
  incoming->log_bytes = 0;
  incoming->unsynced_bytes = 0;
  incoming->extents.clear();
  incoming->failed = false;
  XXH3_64bits_reset(&incoming->checksum);
  return incoming;
}

void Home::Append(Incoming& incoming, absl::string_view bytes, Now now) {
  if (incoming.failed) return;
  XXH3_64bits_update(&incoming.checksum, bytes.data(), bytes.size());
  if (!incoming.body.Append(io::BytesOf(bytes), pool_)) {
    Fail(incoming);
    return;
  }
  if (incoming.body.bytes() < limits::kBodyBlocksBeforeLog * limits::kBodyBlockBytes) return;
  if (!HasRoom(incoming.origin, 0, 0, incoming.body.bytes(), now)) {
    Fail(incoming);
    return;
  }
  // A large body goes to the log as it comes; its blocks are free again once the log has them. From
  // its first piece on, the message lives, with all of its bytes so far: else it would itself be
  // what is dead in the log, and have the log want its place back.
  const bool first = incoming.logged_bytes == 0;
  const uint64_t lived_bytes = incoming.log_bytes;
  LogBody(incoming.id, incoming.body, incoming.logged_bytes, incoming.log_bytes, incoming.extents,
          now);
  const spool::SegmentId segment = incoming.extents.front().segment;
  log_.Lives(segment, incoming.log_bytes);
  if (!first) log_.Died(segment, lived_bytes);
  incoming.logged_bytes += incoming.body.bytes();
  incoming.unsynced_bytes += incoming.body.bytes();
  AwaitBlocks(incoming.body, incoming_.HandleOf(incoming));
}

bool Home::Behind(const Incoming& incoming) const {
  if (incoming.unsynced_bytes == 0) return false;
  return incoming.unsynced_bytes >= limits::kBodyBytesUnsyncedMax ||
         pool_.taken() > pool_.capacity() / 2;
}

// The log has borrowed them until its open batch is durable.
void Home::AwaitBlocks(Body& body, Handle incoming) {
  awaited_blocks_.push_back({log_.open_batch(), std::move(body), incoming});
  body = Body();
}

// Of the batches up to this one, which the log has done with.
void Home::FreeBlocks(uint64_t through) {
  while (!awaited_blocks_.empty() && awaited_blocks_.front().batch <= through) {
    AwaitedBlocks& awaited = awaited_blocks_.front();
    Incoming* incoming = incoming_.Find(awaited.incoming);
    if (incoming != nullptr && !incoming->failed) {
      CHECK(incoming->unsynced_bytes >= awaited.body.bytes());
      incoming->unsynced_bytes -= awaited.body.bytes();
    }
    awaited.body.Release(pool_);
    awaited_blocks_.pop_front();
  }
}

// Its memory and its place in the log are wanted by others while its client goes on sending.
void Home::Fail(Incoming& incoming) {
  incoming.failed = true;
  Drop(incoming);
}

void Home::Abandon(Incoming& incoming) {
  Drop(incoming);
  incoming_.Release(incoming);
}

void Home::Drop(Incoming& incoming) {
  if (incoming.logged_bytes > 0) log_.Died(incoming.extents.front().segment, incoming.log_bytes);
  incoming.logged_bytes = 0;
  incoming.log_bytes = 0;
  incoming.unsynced_bytes = 0;
  incoming.extents.clear();
  incoming.body.Release(pool_);
}

void Home::Refuse(Incoming& incoming, Handle session) {
  decided_.push_back({.session = session, .id = incoming.id, .kept = false});
  Abandon(incoming);
}

uint32_t Home::CountDestinations(const smtp::Envelope& envelope) const {
  uint32_t count = 0;
  absl::string_view last;
  for (const EnvelopeRecipient& recipient : envelope.recipients) {
    if (count == 0 || recipient.destination != last) ++count;
    last = recipient.destination;
  }
  return count;
}

void Home::Commit(Incoming& incoming, smtp::Envelope& envelope, const IncomingSummary& summary,
                  Handle session, Now now) {
  CHECK(!envelope.recipients.empty());
  SortByDestination(envelope.recipients);
  const uint32_t destinations = CountDestinations(envelope);
  const uint64_t bytes =
      incoming.body.bytes() + kRecordOverheadBytes * (1 + envelope.recipients.size());
  const uint32_t parcels = kept_parcels_.taken() + parcels_promised_ + destinations;
  if (incoming.failed || kept_messages_.full() || !MakeResidentRoom() ||
      !HasRoom(incoming.origin, 0, parcels, bytes, now)) {
    return Refuse(incoming, session);
  }
  const uint64_t lived_bytes = incoming.log_bytes;
  Message& message = MakeMessage(incoming, envelope, summary, now);
  message.kept->parcels = destinations;
  parcels_promised_ += destinations;
  AppendAccepted(message, now, /*again=*/false);
  // It lives as a message now.
  if (incoming.logged_bytes > 0) log_.Died(message.kept->first_segment, lived_bytes);
  awaited_promises_.push_back({log_.open_batch(), &message, session});
  EmitReception(message, summary, log_.open_batch());
  incoming_.Release(incoming);
}

Message& Home::MakeMessage(Incoming& incoming, smtp::Envelope& envelope,
                           const IncomingSummary& summary, Now now) {
  Message& message = *TakeResident();
  KeptMessage& kept = *kept_messages_.Take();
  kept = KeptMessage{.id = incoming.id, .kept_since = now.instant, .resident = &message};
  message.kept = &kept;
  message.id = incoming.id;
  message.accepted_at = now.wall;
  std::swap(message.envelope, envelope);
  message.pool = 0;
  if (options_.sources != nullptr) {
    message.pool = options_.sources->PoolFor(summary.client_address.ip, message.envelope.sender);
  }
  message.outcomes.clear();
  message.outcomes.resize(message.envelope.recipients.size());
  message.bounce = incoming.origin == Origin::kBounce;
  message.eight_bit = summary.eight_bit;
  message.message_bytes = summary.message_bytes;
  message.wire_bytes = incoming.logged_bytes + incoming.body.bytes();
  message.body_checksum = XXH3_64bits_digest(&incoming.checksum);

  LogBody(message.id, incoming.body, incoming.logged_bytes, incoming.log_bytes, incoming.extents,
          now);
  std::swap(message.extents, incoming.extents);
  kept.log_bytes = static_cast<uint32_t>(incoming.log_bytes);
  const bool whole = incoming.logged_bytes == 0;
  if (whole) {
    std::swap(message.body, incoming.body);
    in_memory_.PushBack(message);
  } else {
    AwaitBlocks(incoming.body, Handle{});
  }
  kept.first_segment = message.extents.front().segment;
  JoinSegment(kept);
  return message;
}

void Home::LogBody(MessageId id, const Body& body, uint64_t body_offset, uint64_t& log_bytes,
                   std::vector<spool::Extent>& extents, Now now) {
  std::array<io::Bytes, kBodyPieceBlocks> parts;
  const uint64_t blocks =
      std::min(kBodyPieceBlocks, log_.piece_bytes_max() / limits::kBodyBlockBytes);
  CHECK(blocks > 0);
  for (uint64_t offset = 0; offset < body.bytes();) {
    const uint64_t piece = std::min(blocks * limits::kBodyBlockBytes, body.bytes() - offset);
    const size_t count = body.Gather(offset, piece, parts);
    extents.push_back(
        log_.AppendBody(id, body_offset + offset, std::span(parts).first(count), now.wall));
    log_bytes += piece + spool::kBodyPrefixBytes + 8;
    offset += piece;
  }
}

void Home::AppendAccepted(Message& message, Now now, bool again) {
  spool::AcceptedRecord& record = accepted_record_;
  record.id = message.id;
  record.accepted_at = message.accepted_at;
  record.sender = message.envelope.sender;
  record.body_type = static_cast<uint8_t>(message.envelope.body_type);
  record.ret = static_cast<uint8_t>(message.envelope.ret);
  record.envelope_id = message.envelope.envelope_id;
  record.source_pool = options_.sources == nullptr ? "" : options_.sources->pool(message.pool).name;
  record.eight_bit = message.eight_bit;
  record.bounce = message.bounce;
  record.message_bytes = message.message_bytes;
  record.wire_bytes = message.wire_bytes;
  record.body_checksum = message.body_checksum;
  record.body = message.extents;
  record.recipients.resize(message.envelope.recipients.size());
  for (size_t i = 0; i < record.recipients.size(); ++i) {
    const EnvelopeRecipient& from = message.envelope.recipients[i];
    spool::RecipientRecord& to = record.recipients[i];
    to.address = from.address;
    to.destination = from.destination;
    to.original_recipient = from.original_recipient;
    to.notify = from.notify;
    to.state = message.outcomes[i].state;
    to.attempts = message.outcomes[i].attempts;
    to.next_attempt = message.outcomes[i].next_attempt;
    to.last_reply = message.outcomes[i].attempts > 0 ? message.outcomes[i].reply.ToString() : "";
  }
  KeptMessage& kept = *message.kept;
  kept.accepted = log_.AppendAccepted(record, now.wall, again);
  kept.log_bytes += kept.accepted.bytes;
  log_.Lives(kept.first_segment, kept.log_bytes);
}

void Home::EmitReception(const Message& message, const IncomingSummary& summary, uint64_t batch) {
  Event event;
  event.type = EventType::kReception;
  event.timestamp = message.accepted_at;
  event.id = message.id;
  event.sender = message.envelope.sender;
  event.message_bytes = message.message_bytes;
  event.peer_name = summary.client_name;
  event.peer_address = summary.client_address;
  event.shard = options_.shard;
  for (const EnvelopeRecipient& recipient : message.envelope.recipients) {
    event.recipient = recipient.address;
    event.destination = recipient.destination;
    events_.Emit(event, batch);
  }
}

void Home::TakePromises(std::vector<Promise>& promises) {
  promises.insert(promises.end(), decided_.begin(), decided_.end());
  decided_.clear();
}

}  // namespace sluice::delivery
