// A borrowed callable: two pointers, no allocation. It must not outlive the callable it was made from.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace fovea {

template <class Signature>
class FunctionRef;

// For parameters: a lambda written at the call lives until the call returns. std::function where it is kept.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  // From anything that can be called so; it is not copied.
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> && std::is_invocable_r_v<R, F&, Args...>)
  FunctionRef(F&& f) noexcept  // NOLINT(google-explicit-constructor): meant to be made at the call
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace fovea
