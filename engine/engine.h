// The public face of the engine: start, reload, drain, stop.
//
//   Engine engine(config);
//   engine.Start(tables);          // Recovers the spool, starts the threads, listens.
//   engine.UseTables(new_tables);  // While mail flows.
//   engine.BeginDrain();           // Finishes what is under way,
//   engine.Stop();                 // then ends.
//
// All calls come from one thread, the control thread. The engine's threads: one a shard, the
// resolver's, and the delivery log's.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/active_file.h"
#include "engine/admin/delivery_log.h"
#include "engine/admin/delivery_log_writer.h"
#include "engine/config.h"
#include "engine/delivery/engine_caps.h"
#include "engine/dns/unbound_resolver.h"
#include "engine/shard/post.h"
#include "engine/shard/runner.h"
#include "engine/spool/posix_disk.h"
#include "engine/tables.h"
#include "policy/bounce_tag.h"
#include "policy/controls_table.h"
#include "policy/suspensions.h"
#include "tls/environment.h"
#include "tls/handshake_pool.h"

namespace sluice {

class Engine {
 public:
  // What tests put something else in the place of: the kernel's side, and the sizes of a shard's
  // parts (what the configuration says is filled in).
  struct Parts {
    shard::MakeIo make_io = shard::MakeUringIo;
    shard::Shard::Options shard;
  };

  explicit Engine(Config config) : Engine(std::move(config), Parts{}) {}
  Engine(Config config, Parts parts)
      : config_(std::move(config)),
        parts_(std::move(parts)),
        caps_(config_.connections_max, config_.handshakes_max) {}
  ~Engine();  // Stops.

  // `suspensions` hold from before the first delivery on; null: nothing is suspended.
  absl::Status Start(Tables tables,
                     std::shared_ptr<const policy::Suspensions> suspensions = nullptr);

  // Hands the new controls to every shard and waits until each uses them; the old table is freed
  // then. Routes count for look-ups from now on. Returns the version that attempts will log.
  uint64_t UseTables(Tables tables);

  // Those in use, until the next UseTables.
  const policy::ControlsTable& controls() const { return *controls_; }

  // Hands them to every shard. When this returns, no shard begins anything for what is suspended
  // but those that it returns: they have not answered, and want to be told again.
  std::vector<uint32_t> UseSuspensions(std::shared_ptr<const policy::Suspensions> suspensions);

  // Opens the delivery log anew (it has been rotated).
  void ReopenLog();

  // Runs `question` on a shard's thread, between two of its turns, and waits for its answer, for a
  // second at most. It should be short, and own all that it uses: it may run later. nullopt: the
  // shard has ended, or hangs.
  template <class Answer>
  std::optional<Answer> Ask(uint32_t shard, std::function<Answer(shard::Shard&, Now)> question) {
    struct Question : shard::Task {
      std::optional<Answer> answer;
    };
    auto asked = std::make_unique<Question>();
    Question* mine = asked.get();
    asked->run = [mine, question = std::move(question)](shard::Shard& of, Now now) {
      mine->answer = question(of, now);
    };
    const std::unique_ptr<shard::Task> done = RunTask(shard, std::move(asked));
    return done == nullptr ? std::nullopt : std::move(mine->answer);
  }

  // Takes no more mail and lets what is under way finish; Ended says when that is over. What is not
  // delivered stays in the spool.
  void BeginDrain();
  bool Ended() const;
  // Ends whatever is still under way. The engine's threads have ended when this returns.
  void Stop();

  // A shard's log has failed, or a shard has ended by itself: the process should drain and exit for
  // recovery.
  bool Failed();

  // The first of these, also after Stop: what was not durable is done again by the next start.
  bool LogFailed();

  const std::vector<SocketAddress>& listening() const { return runners_.front()->listening(); }
  uint32_t shards() const { return shards_; }
  // How many messages were in the spool at the start; nullopt: they are still being taken up, while
  // mail flows.
  std::optional<uint64_t> TakenUp();

 private:
  void StartHandshakes();
  void OpenActiveFile();
  absl::Status StartResolver(dns::RoutesTable routes);
  shard::Runner::Options RunnerOptions(uint32_t number) const;
  std::unique_ptr<shard::Task> RunTask(uint32_t shard, std::unique_ptr<shard::Task> task);
  void Tell(const shard::Mail& mail);
  void Send(uint32_t shard, const shard::Mail& mail);
  void Retire(std::shared_ptr<const tls::Environment> environment);

  const Config config_;
  std::unique_ptr<ActiveFile> active_;  // Null: it could not be made. Outlives the shards.
  const Parts parts_;
  delivery::EngineCaps caps_;
  std::optional<policy::BounceTagger> tagger_;
  uint32_t shards_ = 0;
  uint64_t next_version_ = 1;
  std::unique_ptr<policy::ControlsTable> controls_;
  std::shared_ptr<const tls::Environment> tls_;
  std::vector<std::shared_ptr<const tls::Environment>> retired_;  // Old ones that are still used.
  std::shared_ptr<const policy::Suspensions> suspensions_;
  std::unique_ptr<tls::HandshakePool> handshakes_;
  std::unique_ptr<spool::PosixDisk> disk_;
  std::unique_ptr<shard::Post> post_;
  std::unique_ptr<admin::DeliveryLogWriter> log_writer_;
  std::vector<std::unique_ptr<admin::ShardLog>> logs_;
  std::unique_ptr<dns::UnboundResolver> resolver_;
  std::vector<std::unique_ptr<shard::Task>> unanswered_;  // By shard: it may still run.
  std::vector<std::unique_ptr<shard::Runner>> runners_;
};

}  // namespace sluice
