// A server with a heap that is written to, for tests that move it: HeapServer PORT. A line is a question:
//
//   add KEY   -> how often that was asked
//   state     -> "sum=0 transfers=N collections=N compiled_ms=N uptime_ms=N"; sum: of all cells, from and to which two threads
//                transfer all the time, and which make garbage while they do
//
// On SIGTERM it says "bye".

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Random;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.LongStream;

public class HeapServer {
  private static final int CELLS = 2 << 20;
  private static final int TRANSFERS_AT_ONCE = 500;
  private static final long[] cells = new long[CELLS];
  private static final Object[] kept = new Object[512];
  private static final ConcurrentHashMap<String, Long> counts = new ConcurrentHashMap<>();
  private static long transfers = 0;

  public static void main(String[] arguments) throws Exception {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("bye")));
    for (int i = 0; i < 2; ++i) {
      final int seed = i;
      Thread worker = new Thread(() -> work(new Random(seed)));
      worker.setDaemon(true);
      worker.start();
    }
    try (ServerSocket server = new ServerSocket(Integer.parseInt(arguments[0]))) {
      System.out.println("listening");
      while (true) {
        Socket client = server.accept();
        client.setTcpNoDelay(true);
        new Thread(() -> serve(client)).start();
      }
    }
  }

  private static void work(Random random) {
    while (true) {
      kept[random.nextInt(kept.length)] = new byte[random.nextInt(64 << 10)];
      synchronized (cells) {
        for (int i = 0; i < TRANSFERS_AT_ONCE; ++i) {
          long amount = random.nextInt(1000);
          cells[random.nextInt(CELLS)] -= amount;
          cells[random.nextInt(CELLS)] += amount;
        }
        transfers += TRANSFERS_AT_ONCE;
      }
      try {
        Thread.sleep(1);
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private static void serve(Socket client) {
    try (client; BufferedReader in = new BufferedReader(new InputStreamReader(client.getInputStream()));
         PrintWriter out = new PrintWriter(client.getOutputStream())) {
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        out.print((line.startsWith("add ") ? counts.merge(line.substring(4), 1L, Long::sum) : state()) + "\n");
        out.flush();
      }
    } catch (IOException e) {
      System.out.println("a connection has ended: " + e);
    }
  }

  private static String state() {
    long collections = 0;
    for (GarbageCollectorMXBean one : ManagementFactory.getGarbageCollectorMXBeans()) collections += one.getCollectionCount();
    synchronized (cells) {
      return "sum=" + LongStream.of(cells).sum() + " transfers=" + transfers + " collections=" + collections + " compiled_ms="
          + ManagementFactory.getCompilationMXBean().getTotalCompilationTime() + " uptime_ms="
          + ManagementFactory.getRuntimeMXBean().getUptime();
    }
  }
}
