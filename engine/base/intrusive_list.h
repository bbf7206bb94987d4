// A doubly linked list whose links live in its members: joining and leaving allocate nothing and
// are O(1). A hook is in at most one list at a time; the list owns nothing. Not thread-safe.

#pragma once

#include <cstddef>

#include "engine/base/check.h"

namespace sluice {

struct ListHook {
  ListHook* next = nullptr;
  ListHook* previous = nullptr;

  bool linked() const { return next != nullptr; }
};

template <class T, ListHook T::*kHook>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next = head_.previous = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;

  bool empty() const { return head_.next == &head_; }
  size_t size() const { return size_; }

  void PushBack(T& member) { Insert(member, *head_.previous); }
  void PushFront(T& member) { Insert(member, head_); }

  // Null when the list is empty.
  T* Front() const { return empty() ? nullptr : MemberOf(head_.next); }

  // For a walk whose members stay in the list meanwhile; who takes some out walks by Next.
  class Iterator {
   public:
    explicit Iterator(const ListHook* hook) : hook_(hook) {}
    T& operator*() const { return *MemberOf(const_cast<ListHook*>(hook_)); }
    Iterator& operator++() {
      hook_ = hook_->next;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const ListHook* hook_;
  };
  Iterator begin() const { return Iterator(head_.next); }
  Iterator end() const { return Iterator(&head_); }

  // The one after `member`, or null at the end.
  T* Next(const T& member) const {
    ListHook* next = (member.*kHook).next;
    return next == &head_ ? nullptr : MemberOf(next);
  }

  void Remove(T& member) {
    ListHook& hook = member.*kHook;
    CHECK(hook.linked());
    CHECK(size_ > 0);
    hook.previous->next = hook.next;
    hook.next->previous = hook.previous;
    hook.next = hook.previous = nullptr;
    --size_;
  }

  T* PopFront() {
    T* member = Front();
    if (member != nullptr) Remove(*member);
    return member;
  }

 private:
  void Insert(T& member, ListHook& after) {
    ListHook& hook = member.*kHook;
    CHECK(!hook.linked());
    hook.previous = &after;
    hook.next = after.next;
    after.next->previous = &hook;
    after.next = &hook;
    ++size_;
  }

  static T* MemberOf(ListHook* hook) {
    alignas(T) static char probe[sizeof(T)];
    static const ptrdiff_t offset =
        reinterpret_cast<char*>(&(reinterpret_cast<T*>(probe)->*kHook)) - probe;
    return reinterpret_cast<T*>(reinterpret_cast<char*>(hook) - offset);
  }

  ListHook head_;
  size_t size_ = 0;
};

}  // namespace sluice
