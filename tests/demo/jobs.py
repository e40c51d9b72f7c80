"""The demo's jobs: real programs on real data of this machine. Each takes some seconds of one CPU, writes one
output file, and has an exit code that the shell that started it has to see."""

from dataclasses import dataclass


@dataclass
class Job:
    name: str
    command: str  # for sh; $OUT is its output file
    status: int = 0


# Made on the node before anything is timed, the same for both rounds.
PREPARE = r"""
set -e
mkdir -p /root/demo && cd /root/demo
tar -C / -cf data.tar --sort=name --mtime=@0 usr/include/c++ usr/lib/python3/dist-packages 2>/dev/null || true
head -c 26000000 data.tar > data
tail -c 26000000 data.tar > data2
cat > big.cc <<'CC'
#include <algorithm>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>
CC
for i in $(seq 1 170); do cat >> big.cc <<CC
struct S$i { std::map<int, std::vector<std::string>> m; std::unordered_map<std::string, std::set<long>> u; };
bool f$i(S$i& s, std::function<int(int)> g) {
  for (auto& [k, v] : s.m) { std::sort(v.begin(), v.end()); s.u[v.empty() ? "" : v[0]].insert(g(k) + $i); }
  return std::regex_match(s.m.begin()->second.at(0), std::regex("(a|b)*[0-9]+x$i"));
}
CC
done
g++ -std=c++17 -E big.cc -o big.ii
cat > words.py <<'PY'
import collections, hashlib, os, re, sys
text = open("/root/demo/data", "rb").read(6_000_000).decode("latin-1")
pid = os.getpid()
digest = hashlib.sha256()
for round in range(int(sys.argv[2])):
    words = collections.Counter(re.findall(r"[A-Za-z_]+", text))
    for word, count in words.most_common(2000):
        digest.update(f"{word} {count} {round}".encode())
assert os.getpid() == pid, "my PID has changed"
open(sys.argv[1], "w").write(digest.hexdigest() + "\n")
sys.exit(7)
PY
"""

JOBS = [
    Job("xz", "exec xz -9e -T1 -c /root/demo/data > $OUT"),
    Job("python3", "exec python3 /root/demo/words.py $OUT 65", status=7),
    Job("openssl", "exec openssl enc -aes-256-cbc -pbkdf2 -iter 31000000 -k demo -nosalt"
                   " -in /root/demo/big.cc -out $OUT"),
    Job("cc1plus", "exec $(g++ -print-prog-name=cc1plus) -quiet -O2 -std=c++17 -fpreprocessed"
                   " /root/demo/big.ii -o $OUT"),
    Job("xz", "exec xz -9e -T1 -c /root/demo/data2 > $OUT"),
    Job("perl", "exec perl -e 'open F, qq(/root/demo/data); local $/; $_ = <F>; my %n;"
                " for my $r (1..4) { $n{lc $1}++ while /([a-z_]{3,})/gi }"
                " print qq($_ $n{$_}\\n) for sort keys %n' > $OUT"),
]
