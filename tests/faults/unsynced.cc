#include "tests/faults/unsynced.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace sluice::faults {
namespace {

// Not through the wrapped calls: what is put back is no call of the engine's.
void RemoveFile(const std::string& path) {
  syscall(SYS_unlink, path.c_str());
}
void RenameFile(const std::string& from, const std::string& to) {
  syscall(SYS_rename, from.c_str(), to.c_str());
}

std::string FolderOf(const std::string& path) {
  return path.substr(0, path.find_last_of('/'));
}

}  // namespace

Unsynced& Unsynced::OfProcess() {
  static Unsynced unsynced;
  return unsynced;
}

void Unsynced::WillWrite(int descriptor, uint64_t offset, uint64_t bytes) {
  Old old{.offset = offset, .bytes = std::string(bytes, '\0')};
  const ssize_t read = syscall(SYS_pread64, descriptor, old.bytes.data(), bytes, offset);
  old.bytes.resize(static_cast<size_t>(std::max<ssize_t>(read, 0)));
  const std::lock_guard lock(mutex_);
  written_[descriptor].push_back(std::move(old));
}

void Unsynced::Synced(int descriptor) {
  const std::lock_guard lock(mutex_);
  written_.erase(descriptor);
}

void Unsynced::Lose(int descriptor) {
  const std::lock_guard lock(mutex_);
  LoseContents(descriptor);
}

// The latest first, so that the oldest state is what stays.
void Unsynced::LoseContents(int descriptor) {
  std::vector<Old>& written = written_[descriptor];
  for (auto old = written.rbegin(); old != written.rend(); ++old) {
    syscall(SYS_pwrite64, descriptor, old->bytes.data(), old->bytes.size(), old->offset);
  }
  written.clear();
}

void Unsynced::Created(const std::string& path) {
  const std::lock_guard lock(mutex_);
  names_.push_back({Change::kCreated, path, ""});
}

void Unsynced::Renamed(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  names_.push_back({Change::kRenamed, to, from});
}

void Unsynced::Removed(const std::string& path, const std::string& kept) {
  const std::lock_guard lock(mutex_);
  names_.push_back({Change::kRemoved, kept, path});
}

// A rename over folders is one transaction of the file system: syncing where it went is enough.
void Unsynced::FolderSynced(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  std::erase_if(names_, [&](const Name& name) {
    if (FolderOf(name.now) != folder) return false;
    if (name.change == Change::kRemoved) RemoveFile(name.now);
    return true;
  });
}

void Unsynced::LoseNames() {
  for (auto name = names_.rbegin(); name != names_.rend(); ++name) {
    switch (name->change) {
      case Change::kCreated:
        RemoveFile(name->now);
        break;
      case Change::kRenamed:
      case Change::kRemoved:
        RenameFile(name->now, name->before);
        break;
    }
  }
  names_.clear();
}

void Unsynced::LoseAll() {
  const std::lock_guard lock(mutex_);
  for (auto& [descriptor, written] : written_) LoseContents(descriptor);
  LoseNames();
}

}  // namespace sluice::faults
