// How fast a link is over loopback, beside the same bytes over plain TCP in the same run:
//   tls_link_bench [MiB] [repetitions]
#include <poll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <thread>

#include "ssid/base/clock.h"
#include "ssid/wire/tcp.h"
#include "ssid/wire/tls_link.h"
#include "ssid/wire/wait_ready.h"

namespace {

using namespace ssi;

constexpr std::size_t kPieceBytes = 1 << 20;

// What a thread has used so far: on a busy machine this tells more than the time that passed.
double cpu_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1000 + static_cast<double>(t.tv_nsec) / 1e6;
}

void report(const char* name, std::size_t bytes, std::int64_t us, double send_cpu_ms,
            double receive_cpu_ms) {
  std::printf("%-16s %5zu MiB %7.1f ms %6.2f GB/s, CPU: sender %6.1f ms, receiver %6.1f ms\n", name,
              bytes >> 20, static_cast<double>(us) / 1000,
              static_cast<double>(bytes) / 1000 / static_cast<double>(us), send_cpu_ms,
              receive_cpu_ms);
}

void bench_plain(std::span<const std::byte> data, std::span<std::byte> to) {
  auto listener = std::move(TcpListener::listen("127.0.0.1", 0)).value();
  double send_cpu_ms = 0;
  std::thread sender([&] {
    UniqueFd fd = std::move(tcp_connect("127.0.0.1", listener.port(), {})).value();
    const double cpu_begin_ms = cpu_ms();
    for (std::size_t done = 0; done < data.size();) {
      const ssize_t n =
          ::send(*fd, data.data() + done, std::min(data.size() - done, kPieceBytes), MSG_NOSIGNAL);
      if (n > 0)
        done += static_cast<std::size_t>(n);
      else
        SSI_CHECK(wait_ready(*fd, POLLOUT, deadline_in(0)).ok());
    }
    send_cpu_ms = cpu_ms() - cpu_begin_ms;
  });
  UniqueFd fd = std::move(listener.accept(5000)).value();
  const double cpu_begin_ms = cpu_ms();
  const std::int64_t begin = SystemClock().now_us();
  for (std::size_t done = 0; done < to.size();) {
    const ssize_t n = ::recv(*fd, to.data() + done, std::min(to.size() - done, kPieceBytes), 0);
    if (n > 0)
      done += static_cast<std::size_t>(n);
    else
      SSI_CHECK(wait_ready(*fd, POLLIN, deadline_in(0)).ok());
  }
  const std::int64_t us = SystemClock().now_us() - begin;
  const double receive_cpu_ms = cpu_ms() - cpu_begin_ms;
  sender.join();
  report("plain TCP", to.size(), us, send_cpu_ms, receive_cpu_ms);
}

void bench_link(std::span<const std::byte> data, std::span<std::byte> to) {
  const std::vector<std::byte> key(256, std::byte{7});
  auto context = TlsContext::from_key(key, NodeId{1}).value();
  auto listener = std::move(TcpListener::listen("127.0.0.1", 0)).value();
  double send_cpu_ms = 0;
  std::thread sender([&] {
    auto link = std::move(TlsLink::connect(context, "127.0.0.1", listener.port(), {})).value();
    const double cpu_begin_ms = cpu_ms();
    for (std::size_t done = 0; done < data.size(); done += kPieceBytes)
      SSI_CHECK(link->write_all(data.subspan(done, kPieceBytes)).ok());
    send_cpu_ms = cpu_ms() - cpu_begin_ms;
    std::byte end;
    (void)link->read_exact(std::span(&end, 1));
  });
  auto link =
      std::move(TlsLink::accept(context, std::move(listener.accept(5000)).value(), {})).value();
  const double cpu_begin_ms = cpu_ms();
  const std::int64_t begin = SystemClock().now_us();
  SSI_CHECK(link->read_exact(to).ok());
  const std::int64_t us = SystemClock().now_us() - begin;
  const double receive_cpu_ms = cpu_ms() - cpu_begin_ms;
  link.reset();
  sender.join();
  report("link (TLS 1.3)", to.size(), us, send_cpu_ms, receive_cpu_ms);
}

void bench_round_trip(int count) {
  const std::vector<std::byte> key(256, std::byte{7});
  auto context = TlsContext::from_key(key, NodeId{1}).value();
  auto listener = std::move(TcpListener::listen("127.0.0.1", 0)).value();
  constexpr FrameLimit limits[] = {{.type = 1, .bytes_max = 4096}};
  const std::vector<std::byte> payload(100);
  std::thread server([&] {
    auto link =
        std::move(TlsLink::accept(context, std::move(listener.accept(5000)).value(), {})).value();
    for (;;) {
      auto frame = link->recv_frame(limits);
      if (!frame) return;
      SSI_CHECK(link->send_frame(1, frame->payload).ok());
    }
  });
  std::int64_t begin = SystemClock().now_us();
  auto link = std::move(TlsLink::connect(context, "127.0.0.1", listener.port(), {})).value();
  std::printf("connect and handshake  %8.3f ms\n",
              static_cast<double>(SystemClock().now_us() - begin) / 1000);
  begin = SystemClock().now_us();
  for (int i = 0; i < count; ++i) {
    SSI_CHECK(link->send_frame(1, payload).ok());
    SSI_CHECK(link->recv_frame(limits).ok());
  }
  std::printf("frame there and back   %8.3f us\n",
              static_cast<double>(SystemClock().now_us() - begin) / count);
  link.reset();
  server.join();
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t mib = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 512;
  const int repetitions = argc > 2 ? std::atoi(argv[2]) : 3;
  std::vector<std::byte> data(mib << 20), to(mib << 20);
  std::memset(data.data(), 5, data.size());
  std::memset(to.data(), 6, to.size());
  for (int i = 0; i < repetitions; ++i) {
    bench_plain(data, to);
    std::memset(to.data(), 6, to.size());
    bench_link(data, to);
    SSI_CHECK(to == data);
  }
  bench_round_trip(20'000);
}
