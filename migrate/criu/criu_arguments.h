// How every criu of ours is called. Without the library of C++.
#pragma once

namespace ssi::migrate {

// That a file is the same one, home's store knows. By default criu opens each to look for a
// build-id, which would break a lease, and waits for it to be given up by a process that is frozen.
inline constexpr const char* kCriuValidation = "--file-validation=filesize";

// Its descriptors.
inline constexpr int kCriuRpcFd = 3;
inline constexpr int kCriuImagesFd = 4;
inline constexpr int kCriuFirstExtraFd = 5;

}  // namespace ssi::migrate
