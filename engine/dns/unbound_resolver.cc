#include "engine/dns/unbound_resolver.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unbound.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <iterator>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/domain_name.h"
#include "engine/base/thread.h"

namespace sluice::dns {
namespace {

constexpr int kClassIn = 1;
constexpr int kRcodeNoError = 0;
constexpr int kRcodeServFail = 2;
constexpr int kRcodeNxDomain = 3;

DnsAnswer AnswerOf(const ub_result& result) {
  if (result.bogus) {
    return DnsAnswer::Failed(
        absl::StrCat("bogus: ", result.why_bogus != nullptr ? result.why_bogus : ""));
  }
  DnsAnswer answer;
  answer.ttl = std::chrono::seconds(std::max(result.ttl, 0));
  if (result.nxdomain || result.rcode == kRcodeNxDomain) {
    answer.result = DnsAnswer::Result::kNoSuchName;
  } else if (result.rcode == kRcodeServFail) {
    return DnsAnswer::Failed("SERVFAIL");
  } else if (result.rcode != kRcodeNoError) {
    return DnsAnswer::Failed(absl::StrCat("the code ", result.rcode));
  } else if (!result.havedata) {
    answer.result = DnsAnswer::Result::kNoRecords;
  } else {
    answer.result = DnsAnswer::Result::kRecords;
    for (size_t i = 0; result.data[i] != nullptr; ++i) {
      answer.records.emplace_back(result.data[i], static_cast<size_t>(result.len[i]));
    }
  }
  return answer;
}

}  // namespace

void UnboundResolver::DeleteContext::operator()(ub_ctx* context) const {
  ub_ctx_delete(context);
}

UnboundResolver::UnboundResolver(Options options)
    : options_(std::move(options)), ready_(options_.wakers.size()), done_(options_.wakers.size()) {
  CHECK(options_.now != nullptr);
  CHECK(!options_.wakers.empty());
}

UnboundResolver::~UnboundResolver() {
  if (thread_.joinable()) {
    stopping_ = true;
    Signal();
    thread_.join();
  }
  context_.reset();  // Its thread ends here, before the questions that it points to.
  if (event_ >= 0) close(event_);
}

absl::Status UnboundResolver::Start() {
  CHECK(!thread_.joinable());
  if (absl::Status status = Configure(); !status.ok()) return status;
  event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  CHECK(event_ >= 0);
  // Both threads leave every signal to the main thread: libunbound's inherits this one's mask.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
  thread_ = StartThread([this] { Run(); });
  CHECK(pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
  return absl::OkStatus();
}

absl::Status UnboundResolver::Configure() {
  for (std::string& name : options_.rules.own_names) {
    absl::StatusOr<std::string> normal = NormalizeDomain(name);
    if (!normal.ok()) return normal.status();
    name = *std::move(normal);
  }
  context_.reset(ub_ctx_create());
  CHECK(context_ != nullptr);
  CHECK(ub_ctx_async(context_.get(), 1) == UB_NOERROR);
  SetLibraryOptions();
  if (absl::Status status = UseForwarders(); !status.ok()) return status;
  if (absl::Status status = UseTrustAnchor(); !status.ok()) return status;
  return FinishConfiguration();
}

// As a library, libunbound is set up for a desktop program: 16 sockets and 1 MB caches.
void UnboundResolver::SetLibraryOptions() {
  constexpr std::pair<const char*, const char*> kSettings[] = {
      {"outgoing-range:", "256"},  // Sockets, so questions on their way, at one time.
      {"outgoing-num-tcp:", "32"},
      {"num-queries-per-thread:", "4096"},
      {"msg-cache-size:", "16m"},
      {"rrset-cache-size:", "32m"},
      {"cache-max-negative-ttl:", "300"},  // As kNegativeTtlMax: what we let go of must not come
                                           // back.
      {"infra-keep-probing:", "yes"},      // A forwarder that was away is found when it is back.
  };
  for (const auto& [name, value] : kSettings) {
    CHECK(ub_ctx_set_option(context_.get(), name, value) == UB_NOERROR);
  }
}

absl::Status UnboundResolver::UseForwarders() {
  for (const std::string& address : options_.forward) {
    if (ub_ctx_set_fwd(context_.get(), address.c_str()) != UB_NOERROR) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a forwarder is written like 127.0.0.1@5353 or 2001:db8::53, not \"", address, "\""));
    }
  }
  return absl::OkStatus();
}

absl::Status UnboundResolver::UseTrustAnchor() {
  const std::string& file = options_.trust_anchor;
  if (file.empty() || access(file.c_str(), R_OK) != 0) return absl::OkStatus();
  if (ub_ctx_add_ta_file(context_.get(), file.c_str()) != UB_NOERROR) {
    return absl::InvalidArgumentError(absl::StrCat("the trust anchor ", file, " cannot be used"));
  }
  return absl::OkStatus();
}

// libunbound answers "test." by itself (RFC 6761 6.2). With forwarders of the operator's own it
// must not: private test networks use that name. Either call also makes libunbound read its whole
// configuration now, so that a fault in it is said at the start and not at the first message.
absl::Status UnboundResolver::FinishConfiguration() {
  const int error = options_.forward.empty() ? ub_ctx_zone_add(context_.get(), "test.", "static")
                                             : ub_ctx_zone_remove(context_.get(), "test.");
  if (error == UB_NOERROR) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the resolver cannot be set up (forwarders, trust anchor ",
                   options_.trust_anchor, "): ", ub_strerror(error)));
}

void UnboundResolver::Ask(RouteQuery query) {
  CHECK(query.shard < ready_.size());
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back(std::move(query));
  }
  Signal();
}

void UnboundResolver::Poll(uint32_t shard, std::vector<RouteAnswer>& answers) {
  CHECK(shard < ready_.size());
  const std::lock_guard lock(mutex_);
  std::move(ready_[shard].begin(), ready_[shard].end(), std::back_inserter(answers));
  ready_[shard].clear();
}

void UnboundResolver::UseRoutes(std::shared_ptr<const RoutesTable> routes) {
  const std::lock_guard lock(mutex_);
  new_routes_ = std::move(routes);
}

void UnboundResolver::Signal() {
  const uint64_t one = 1;
  while (write(event_, &one, sizeof(one)) < 0) {
    if (errno == EAGAIN) return;  // The count is full, so the thread will wake.
    CHECK(errno == EINTR);
  }
}

void UnboundResolver::Run() {
  while (!stopping_) {
    WaitForWork();
    TakeAsked();
    CHECK(ub_process(context_.get()) == UB_NOERROR);  // Calls OnResult.
    ExpireBudgets();
    BeginAsked();
    SubmitQuestions();
    DeliverAnswers();
  }
}

void UnboundResolver::WaitForWork() {
  timespec timeout{};
  if (!deadlines_.empty()) {
    const Duration left = std::max(deadlines_.front().at - options_.now(), Duration::zero());
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    timeout = {.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
  }
  pollfd ready[] = {{.fd = event_, .events = POLLIN, .revents = 0},
                    {.fd = ub_fd(context_.get()), .events = POLLIN, .revents = 0}};
  if (ppoll(ready, std::size(ready), deadlines_.empty() ? nullptr : &timeout, nullptr) < 0) {
    CHECK(errno == EINTR);
    return;
  }
  uint64_t count = 0;
  if (read(event_, &count, sizeof(count)) < 0) CHECK(errno == EAGAIN || errno == EINTR);
}

void UnboundResolver::TakeAsked() {
  const std::lock_guard lock(mutex_);
  std::move(asked_.begin(), asked_.end(), std::back_inserter(queries_));
  asked_.clear();
  if (new_routes_ == nullptr) return;
  routes_ = std::exchange(new_routes_, nullptr);
  joinable_.clear();  // Look-ups by the old table go on for those who asked then.
}

void UnboundResolver::BeginAsked() {
  while (!queries_.empty() && !under_way_.full()) {
    Begin(std::move(queries_.front()));
    queries_.pop_front();
  }
}

void UnboundResolver::Begin(RouteQuery query) {
  if (Join(query)) return;
  UnderWay* begun = under_way_.Take();
  CHECK(begun != nullptr);
  const Handle handle = under_way_.HandleOf(*begun);
  begun->domain = query.domain;
  begun->askers.assign({{.shard = query.shard, .destination = query.destination}});
  const auto* table = routes_ == nullptr ? nullptr : routes_->Lookup(query.domain);
  begun->lookup.emplace(options_.rules, query.domain, table);
  joinable_.insert_or_assign(std::move(query.domain), handle);
  deadlines_.push_back({.under_way = handle, .at = options_.now() + options_.budget});
  QueueQuestions(handle);
  EndIfDone(handle);
}

// Who asks for a domain that is being looked up shares the answer.
bool UnboundResolver::Join(const RouteQuery& query) {
  const auto found = joinable_.find(query.domain);
  if (found == joinable_.end()) return false;
  UnderWay* same = under_way_.Find(found->second);
  CHECK(same != nullptr);
  same->askers.push_back({.shard = query.shard, .destination = query.destination});
  return true;
}

void UnboundResolver::QueueQuestions(Handle handle) {
  for (DnsQuestion& question : under_way_.Find(handle)->lookup->TakeQuestions()) {
    waiting_.push_back({.under_way = handle, .question = std::move(question)});
  }
}

void UnboundResolver::SubmitQuestions() {
  while (!waiting_.empty() && !questions_.full()) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    if (under_way_.Find(next.under_way) != nullptr) Submit(next);
  }
}

void UnboundResolver::Submit(const Waiting& waiting) {
  Question* question = questions_.Take();
  CHECK(question != nullptr);
  *question = {.resolver = this, .under_way = waiting.under_way, .number = waiting.question.number};
  const int error = ub_resolve_async(context_.get(), waiting.question.name.c_str(),
                                     static_cast<int>(waiting.question.type), kClassIn, question,
                                     &UnboundResolver::OnResult, nullptr);
  if (error == UB_NOERROR) return;
  questions_.Release(*question);
  OnAnswer(waiting.under_way, waiting.question.number, DnsAnswer::Failed(ub_strerror(error)));
}

// A question is never cancelled: libunbound works on it all the same, so it keeps its place in our
// bound. When its look-up has ended meanwhile, the answer finds nobody.
void UnboundResolver::OnResult(void* data, int error, ub_result* result) {
  auto* slot = static_cast<Question*>(data);
  const Question question = *slot;
  UnboundResolver& self = *question.resolver;
  self.questions_.Release(*slot);
  // No error and no result has been seen of resolvers; it is no answer (P22).
  const DnsAnswer answer =
      error == UB_NOERROR && result != nullptr
          ? AnswerOf(*result)
          : DnsAnswer::Failed(error == UB_NOERROR ? "nothing" : ub_strerror(error));
  ub_resolve_free(result);
  self.OnAnswer(question.under_way, question.number, answer);
}

void UnboundResolver::OnAnswer(Handle handle, uint32_t number, const DnsAnswer& answer) {
  UnderWay* under_way = under_way_.Find(handle);
  if (under_way == nullptr) return;
  under_way->lookup->OnAnswer(number, answer);
  QueueQuestions(handle);
  EndIfDone(handle);
}

void UnboundResolver::ExpireBudgets() {
  const Instant now = options_.now();
  while (!deadlines_.empty()) {
    const Deadline first = deadlines_.front();
    UnderWay* under_way = under_way_.Find(first.under_way);
    if (under_way != nullptr && now < first.at) return;
    deadlines_.pop_front();
    if (under_way == nullptr) continue;  // It ended in time.
    under_way->lookup->OnBudgetSpent();
    EndIfDone(first.under_way);
  }
}

void UnboundResolver::EndIfDone(Handle handle) {
  UnderWay& under_way = *under_way_.Find(handle);
  if (!under_way.lookup->done()) return;
  const Route route = under_way.lookup->TakeRoute();
  for (const Asker& asker : under_way.askers) {
    done_[asker.shard].push_back({.destination = asker.destination, .route = route});
  }
  const auto found = joinable_.find(under_way.domain);
  if (found != joinable_.end() && found->second == handle) joinable_.erase(found);
  under_way.lookup.reset();
  under_way_.Release(under_way);
}

void UnboundResolver::DeliverAnswers() {
  for (uint32_t shard = 0; shard < done_.size(); ++shard) {
    if (done_[shard].empty()) continue;
    {
      const std::lock_guard lock(mutex_);
      std::move(done_[shard].begin(), done_[shard].end(), std::back_inserter(ready_[shard]));
    }
    done_[shard].clear();
    options_.wakers[shard]();
  }
}

}  // namespace sluice::dns
