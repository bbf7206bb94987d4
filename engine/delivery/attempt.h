// One attempt: a transaction's worth of a parcel's recipients, and how the server's answers become
// their verdicts.
//
//   2xx to the dot                     delivered, all that were not refused by themselves
//   5xx                                bounced: one recipient (RCPT), or all (MAIL, DATA, the dot)
//   4xx, or the session lost           deferred
//   lost between the dot and its reply,
//   or once all had left by BDAT       deferred, possibly delivered (RFC 1047; case P27)
//   moved (452 4.5.3)                  untried: they are the next transaction's
//
// Pure: no I/O, no clock.

#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/time.h"
#include "engine/delivery/parcel.h"
#include "engine/smtp/client_session.h"

namespace sluice::delivery {

class Attempt {
 public:
  // Takes up to `recipients_max` untried recipients of the parcel. The parcel is lent until Finish.
  void Begin(Parcel& parcel, uint32_t recipients_max, Instant now);
  bool active() const { return parcel_ != nullptr; }
  Parcel* parcel() const { return parcel_; }
  uint32_t recipients() const { return static_cast<uint32_t>(indexes_.size()); }

  // What the session is offered; lent until Finish.
  smtp::Transaction transaction() const;

  // Begun ahead of another's end, it is what is on from here: its stages begin.
  void BecomeCurrent(Instant now);

  void OnRecipientRefused(size_t index, const smtp::Reply& reply);
  void OnRecipientMoved(size_t index);
  // 354 came, or only the reply to BDAT is awaited. The first time counts.
  void OnEnvelopeDone(Instant now);

  // The session's verdict on the rest. Writes everything into the parcel and lets it go.
  void Finish(smtp::MessageResult result, const smtp::Reply& reply, absl::string_view command,
              Instant now);
  // As Finish, with a deferral of our own making.
  void FinishDeferred(absl::string_view reply_line, Instant now);
  // The parcel as it was: nothing was tried.
  void Undo();

  // Recipients of this parcel that a transaction could take now.
  static uint32_t Untried(const Parcel& parcel);

 private:
  void SetRest(Verdict verdict);

  Parcel* parcel_ = nullptr;
  std::vector<uint32_t> indexes_;                           // Into the parcel's range.
  std::vector<const smtp::EnvelopeRecipient*> recipients_;  // The same, as the session wants them.
  std::vector<bool> settled_;                               // Refused or moved by its own reply.
  Instant started_{};
  Instant envelope_done_{};
};

// What is kept of a reply, for the log and for a bounce: a server may say 64 KiB to each recipient.
// `kept` has its memory from the last one.
void KeepReply(const smtp::Reply& reply, smtp::Reply& kept);

// A reply of our own making, from a line such as "451 4.4.1 no address answered".
smtp::Reply OwnReply(absl::string_view line);

// A reply as it was kept (smtp::Reply::ToString); none if the line is none.
smtp::Reply StoredReply(absl::string_view line);

}  // namespace sluice::delivery
