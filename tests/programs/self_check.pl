# A Perl program that is moved while it watches itself: perl self_check.pl REPORT
#
# It sleeps until its standard input, a pipe, has something to read, and answers each line there with the
# same line and its number on standard output, another pipe. On SIGUSR1 it checks its data, its regular
# expressions' state, its open files and a pipe to itself, and appends a line of JSON to REPORT. SIGTERM: it
# exits with 42.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use IO::Handle;
use POSIX ();

my $report_path = $ARGV[0];
my $pid         = $$;
open(my $report, '>', $report_path) or die "$report_path: $!";
$report->autoflush(1);
STDOUT->autoflush(1);

my $data = '';
my $x    = 12345;
for (1 .. 500_000) {
    $x = ($x * 1103515245 + 12345) & 0x7fffffff;
    $data .= pack 'N', $x;
}
my $data_sum = sha256_hex($data);
my %squares  = map { $_ => $_ * $_ } 1 .. 20_000;

my $words = join ' ', map { "word$_" } 1 .. 100_000;
my $answers = 0;
my $reports = 0;

open(my $lines, '+>', "$report_path.lines") or die "lines: $!";
print {$lines} "line $_\n" for 0 .. 99_999;
$lines->flush;
sysseek $lines, 0, 0;
open(my $journal, '>>', "$report_path.journal") or die "journal: $!";
$journal->autoflush(1);
pipe(my $pipe_out, my $pipe_in) or die "pipe: $!";
$pipe_in->autoflush(1);

# Reads one line without Perl's buffer, so that the file's position is what counts.
sub next_line {
    my $line = '';
    while (sysread($lines, my $byte, 1)) {
        $line .= $byte;
        last if $byte eq "\n";
    }
    return $line;
}

sub memory_is_good {
    return 0 if sha256_hex($data) ne $data_sum;
    for my $n (keys %squares) { return 0 if $squares{$n} != $n * $n }
    $words =~ /\Gword(\d+) /g or return 0;    # goes on where the last match ended
    return $1 == $reports + 1;
}

sub descriptors_are_good {
    print {$pipe_in} "through the pipe\n";
    return 0 if readline($pipe_out) ne "through the pipe\n";
    return 0 if next_line() ne "line $reports\n";
    print {$journal} "journal $reports\n";
    open(my $again, '<', "$report_path.journal") or return 0;
    my @journal = <$again>;
    return @journal == $reports + 1 && $journal[$reports] eq "journal $reports\n";
}

# Its own signal handler runs at once (SigAction), between the test and the sleep too, and wakes it by a pipe.
pipe(my $wake_out, my $wake_in) or die "pipe: $!";
POSIX::sigaction(POSIX::SIGUSR1(), POSIX::SigAction->new(sub { syswrite $wake_in, 'x' }))
    or die "sigaction: $!";
$SIG{TERM} = sub { POSIX::_exit(42) };

my $input = '';
while (1) {
    my $wanted = '';
    vec($wanted, fileno(STDIN), 1) = vec($wanted, fileno($wake_out), 1) = 1;
    my $n = select(my $ready = $wanted, undef, undef, undef);
    next if $n < 0 && $!{EINTR};
    die "select: $!" if $n < 0;
    if (vec($ready, fileno($wake_out), 1)) {
        sysread $wake_out, my $byte, 1;
        my $memory      = memory_is_good()            ? 'true' : 'false';
        my $descriptors = descriptors_are_good()      ? 'true' : 'false';
        my $same        = POSIX::getpid() == $pid     ? 'true' : 'false';
        my $ppid        = POSIX::getppid();
        $reports++;
        print {$report} qq({"report": $reports, "memory_good": $memory, "descriptors_good": $descriptors, )
            . qq("pid": $pid, "same_pid": $same, "ppid": $ppid}\n);
    }
    next if !vec($ready, fileno(STDIN), 1);
    my $got = sysread STDIN, my $part, 4096;
    next if !defined $got && $!{EINTR};
    die "stdin: $!" if !defined $got;
    POSIX::_exit(43) if $got == 0;
    $input .= $part;
    while ($input =~ s/^(.*)\n//) {
        $answers++;
        print "$answers $1\n";
    }
}
