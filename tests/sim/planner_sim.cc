// ssid-planner-sim --test | --bench [--data DIR] [--seed N] [--set KEY=VALUE]...
//
// Runs the planner against simulated clusters of up to 1,000 nodes, beside the same load without
// balancing and on one ideal machine. --test checks limits (generous: they catch herds, ping-pong
// and sleep, not a percent), --bench prints the full table.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "tests/sim/sim_cluster.h"

namespace {

using namespace ssi;
using namespace ssi::sim;

constexpr double kMiB = 1024.0 * 1024;

struct Scenario {
  std::string name;
  ClusterOptions cluster;
  std::vector<Job> jobs;
  std::function<std::string(const Outcome& with, const Outcome& without, const Outcome& ideal)>
      check;
};

struct Settings {
  bool bench = false;
  std::string data = "tests/sim/data";
  std::uint64_t seed = 1;
  PolicyConfig config;
};

std::string fail_if(bool wrong, const char* what) { return wrong ? std::string(what) + "; " : ""; }

// What must hold of every load that goes on for a while.
std::string steady_check(const Outcome& with, const Outcome& without, const Outcome& best,
                         double part) {
  std::string wrong;
  wrong += fail_if(with.unfinished > 0, "jobs did not end");
  wrong += fail_if(static_cast<double>(with.returns) > 0.02 * static_cast<double>(with.moves) + 1,
                   "more than 2% of the moves go straight back");
  wrong += fail_if(static_cast<double>(with.moves) > 1.2 * static_cast<double>(with.moved_jobs),
                   "more than 1.2 moves per placed process");
  // Of what balancing could win for the jobs that are long enough to be moved, this part at least.
  wrong += fail_if(without.long_slowdown_mean - with.long_slowdown_mean <
                       part * (without.long_slowdown_mean - best.long_slowdown_mean),
                   "too little of the possible gain");
  return wrong;
}

Scenario burst(const char* name, std::size_t nodes, std::size_t count, double work_s, double bytes,
               std::size_t moves_expected, double even_before_s) {
  Scenario s{name, {.nodes = nodes}, burst_load(count, work_s, bytes), {}};
  s.check = [=](const Outcome& with, const Outcome&, const Outcome&) {
    return fail_if(with.early_moves < moves_expected, "too few moves") +
           fail_if(static_cast<double>(with.early_moves) >
                       1.2 * static_cast<double>(moves_expected) + 0.5,
                   "too many moves") +
           fail_if(with.returns > 0, "ping-pong") +
           fail_if(with.even_s < 0 || with.even_s > even_before_s, "not even in time");
  };
  return s;
}

Scenario poisson(const char* name, std::size_t nodes, double duration_s, double utilisation,
                 double hot_nodes, double hot_share, double part, const Settings& settings) {
  Scenario s{name, {.nodes = nodes, .cpus = {2}}, {}, {}};
  s.jobs = poisson_load({.nodes = nodes,
                         .capacity_per_node = 2,
                         .duration_s = duration_s,
                         .utilisation = utilisation,
                         .hot_nodes = hot_nodes,
                         .hot_share = hot_share},
                        settings.seed);
  s.check = [part](const Outcome& with, const Outcome& without, const Outcome& best) {
    return steady_check(with, without, best, part);
  };
  return s;
}

std::vector<Scenario> scenarios(const Settings& settings) {
  std::vector<Scenario> all;
  all.push_back(burst("4 equal jobs, 2 nodes", 2, 4, 60, 20 * kMiB, 2, 4));
  all.push_back(burst("3 equal jobs, 2 nodes", 2, 3, 60, 20 * kMiB, 1, 4));
  all.push_back(burst("6 equal jobs, 3 nodes", 3, 6, 60, 64 * kMiB, 4, 6));
  all.push_back(burst("40 jobs on 1 of 20", 20, 40, 60, 20 * kMiB, 38, 25));
  all.push_back(burst("60 jobs on 1 of 100", 100, 60, 40, 20 * kMiB, 59, 25));
  {
    // Lengths 10 .. 80 s: as they end, what remains moves if it pays.
    Scenario s{"8 jobs of 10 to 80 s, 2 nodes", {.nodes = 2}, burst_load(8, 10, 20 * kMiB), {}};
    for (std::size_t i = 0; i < s.jobs.size(); ++i)
      s.jobs[i].work_s = 10.0 * static_cast<double>(i + 1);
    s.check = [](const Outcome& with, const Outcome&, const Outcome& best) {
      return fail_if(with.moves < 4 || with.moves > 8, "not 4 to 8 moves") +
             fail_if(with.end_s > 1.12 * best.end_s, "ends more than 12% later than ideal");
    };
    all.push_back(std::move(s));
  }
  {
    Scenario s{"unequal nodes: 1, 4, 1 slow CPU",
               {.nodes = 3, .cpus = {1, 4, 1}, .speeds = {1, 1, 0.5}},
               burst_load(10, 40, 20 * kMiB),
               {}};
    s.check = [](const Outcome& with, const Outcome&, const Outcome& best) {
      return fail_if(with.returns > 0, "ping-pong") +
             fail_if(with.end_s > 1.35 * best.end_s, "ends more than 35% later than ideal");
    };
    all.push_back(std::move(s));
  }
  const double time_s = settings.bench ? 300 : 60;
  all.push_back(poisson("Poisson 70%, 16 nodes", 16, time_s, 0.7, 1, 1, 0.1, settings));
  all.push_back(poisson("Poisson 90%, 16 nodes", 16, time_s, 0.9, 1, 1, 0.1, settings));
  all.push_back(poisson("all started on 2 of 16, 50%", 16, time_s, 0.5, 0.125, 1, 0.8, settings));
  for (const std::size_t busy : {std::size_t{1}, std::size_t{8}}) {
    Scenario s{busy == 1 ? "recorded on 1 of 4 nodes" : "recorded on all of 8 nodes",
               {.nodes = busy == 1 ? std::size_t{4} : busy, .cpus = {2}},
               {},
               {}};
    auto jobs = recorded_load(settings.data + "/build_processes.txt", busy, busy == 1 ? 2 : 1,
                              settings.seed);
    if (!jobs) {
      std::fprintf(stderr, "ssid-planner-sim: %s\n", jobs.error().message().c_str());
      std::exit(1);
    }
    s.jobs = std::move(jobs).value();
    // Where all nodes are equally busy there is little to win; then it must not do harm.
    s.check = [part = busy == 1 ? 0.4 : -0.2](const Outcome& with, const Outcome& without,
                                              const Outcome& best) {
      return steady_check(with, without, best, part);
    };
    all.push_back(std::move(s));
  }
  if (!settings.bench) {
    all.push_back(poisson("60% on 12 of 60, 70%", 60, 20, 0.7, 0.2, 0.6, 0.5, settings));
    return all;
  }
  all.push_back(poisson("Poisson 70%, 200 nodes", 200, time_s, 0.7, 1, 1, 0.1, settings));
  all.push_back(poisson("Poisson 70%, 1000 nodes", 1000, 120, 0.7, 1, 1, 0.1, settings));
  all.push_back(poisson("half on 100 of 1000, 70%", 1000, 120, 0.7, 0.1, 0.5, 0.6, settings));
  all.push_back(burst("500 jobs on 1 of 1000", 1000, 500, 300, 20 * kMiB, 499, 160));
  Scenario herd = poisson("200 nodes, without admission", 200, time_s, 0.7, 1, 1, 0.1, settings);
  herd.cluster.admission = false;
  all.push_back(std::move(herd));
  return all;
}

int run(const Settings& settings) {
  std::printf("%-32s %6s %6s %6s %6s %5s %5s | %-23s | %-17s | %6s %6s\n", "", "", "", "moves/",
              "moves/", "", "not", "mean slowdown", "jobs of 2 s and up", "even", "took");
  std::printf("%-32s %6s %6s %6s %6s %5s %5s | %7s %7s %7s | %5s %5s %5s | %6s %6s\n", "load",
              "jobs", "moves", "job", "placed", "back", "adm.", "none", "ssid", "ideal", "none",
              "ssid", "ideal", "after", "");
  int failed = 0;
  for (auto& s : scenarios(settings)) {
    const auto began = std::chrono::steady_clock::now();
    s.cluster.seed = settings.seed;
    s.cluster.config = settings.config;
    ClusterOptions off = s.cluster;
    off.balance = false;
    const Outcome with = simulate(s.cluster, s.jobs);
    const Outcome without = simulate(off, s.jobs);
    const Outcome best = ideal(s.cluster, s.jobs);
    const double took_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const auto per = [](std::size_t a, std::size_t b) {
      return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b);
    };
    std::printf("%-32s %6zu %6zu %6.2f %6.2f %5zu %5zu | %7.2f %7.2f %7.2f | %5.2f %5.2f %5.2f |",
                s.name.c_str(), with.jobs, with.moves, per(with.moves, with.jobs),
                per(with.moves, with.moved_jobs), with.returns, with.not_admitted,
                without.slowdown_mean, with.slowdown_mean, best.slowdown_mean,
                without.long_slowdown_mean, with.long_slowdown_mean, best.long_slowdown_mean);
    if (with.even_s >= 0 && s.jobs.front().start_s == 0 && s.jobs.back().start_s == 0) {
      std::printf(" %4.0f s", with.even_s);
    } else {
      std::printf(" %6s", "-");
    }
    std::printf(" %4.1f s\n", took_s);
    std::fflush(stdout);
    if (const auto wrong = s.check(with, without, best); !wrong.empty()) {
      ++failed;
      std::printf("  FAILED: %s repeat: ssid-planner-sim %s --seed %llu\n", wrong.c_str(),
                  settings.bench ? "--bench" : "--test",
                  static_cast<unsigned long long>(settings.seed));
    }
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  bool chosen = false;
  for (int i = 1; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (std::strcmp(argv[i], "--test") == 0) {
      chosen = true;
    } else if (std::strcmp(argv[i], "--bench") == 0) {
      settings.bench = chosen = true;
    } else if (std::strcmp(argv[i], "--data") == 0 && more) {
      settings.data = argv[++i];
    } else if (std::strcmp(argv[i], "--seed") == 0 && more) {
      settings.seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--set") == 0 && more) {
      const std::string text = argv[++i];
      const auto equals = text.find('=');
      const auto done =
          set_policy_key(settings.config, text.substr(0, equals),
                         equals == std::string::npos ? 0 : std::atof(text.c_str() + equals + 1));
      if (!done) {
        std::fprintf(stderr, "ssid-planner-sim: %s\n", done.error().message().c_str());
        return 2;
      }
    } else {
      chosen = false;
      break;
    }
  }
  if (!chosen) {
    std::fprintf(
        stderr,
        "usage: ssid-planner-sim --test | --bench [--data DIR] [--seed N] [--set KEY=VALUE]...\n");
    return 2;
  }
  return run(settings);
}
