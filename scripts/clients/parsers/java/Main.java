import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.FaultEvent;
import com.launchdarkly.eventsource.MessageEvent;
import jakarta.ws.rs.client.ClientBuilder;
import jakarta.ws.rs.sse.SseEventSource;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/**
 * The Java parsers of the matrix, each as its own page says that it is used.
 *
 * <p>{@code java Main NAME URL [LAST_ID]} writes one line of JSON for each thing that it hears, see
 * ../npm.mjs.
 */
public final class Main {
  public static void main(String[] args) throws Exception {
    String url = args[1];
    String lastId = args.length > 2 ? args[2] : null;
    switch (args[0]) {
      case "okhttp-eventsource" -> launchDarkly(url, lastId);
      case "okhttp-sse" -> okHttp(url, lastId);
      case "jersey-media-sse" -> jersey(url);
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  private static void launchDarkly(String url, String lastId) throws Exception {
    var builder = new com.launchdarkly.eventsource.EventSource.Builder(
            ConnectStrategy.http(URI.create(url)))
        .errorStrategy(ErrorStrategy.alwaysContinue())
        .retryDelay(100, TimeUnit.MILLISECONDS);
    if (lastId != null) {
      builder.lastEventId(lastId);
    }
    var source = builder.build();
    for (var event : source.anyEvents()) {
      if (event instanceof MessageEvent message) {
        heard(message.getEventName(), message.getData(), message.getLastEventId());
      } else if (event instanceof FaultEvent fault) {
        say("{\"error\":" + quoted(String.valueOf(fault.getCause())) + "}");
      }
    }
  }

  private static void okHttp(String url, String lastId) throws Exception {
    // Its own read timeout is 10 s, shorter than the server's heartbeat.
    OkHttpClient client = new OkHttpClient.Builder().readTimeout(Duration.ZERO).build();
    Request.Builder request = new Request.Builder().url(url);
    if (lastId != null) {
      request.header("Last-Event-ID", lastId);
    }
    CountDownLatch ended = new CountDownLatch(1);
    String[] last = {lastId == null ? "" : lastId};
    EventSources.createFactory(client).newEventSource(request.build(), new EventSourceListener() {
      @Override public void onEvent(EventSource source, String id, String type, String data) {
        last[0] = id == null ? last[0] : id;
        heard(type, data, id);
      }

      @Override public void onClosed(EventSource source) {
        ended.countDown();
      }

      @Override public void onFailure(EventSource source, Throwable thrown, Response response) {
        say("{\"error\":" + quoted(String.valueOf(thrown)) + "}");
        ended.countDown();
      }
    });
    ended.await();
    say("{\"end\":" + quoted(last[0]) + "}");
    System.exit(0); // OkHttp's threads would wait a minute
  }

  private static void jersey(String url) throws Exception {
    var target = ClientBuilder.newClient().target(URI.create(url));
    try (SseEventSource source = SseEventSource.target(target)
        .reconnectingEvery(100, TimeUnit.MILLISECONDS).build()) {
      source.register(
          event -> heard(event.getName(), event.readData(String.class), event.getId()),
          error -> say("{\"error\":" + quoted(String.valueOf(error)) + "}"),
          () -> say("{\"error\":\"completed\"}"));
      source.open();
      new CountDownLatch(1).await();
    }
  }

  private static void heard(String event, String data, String id) {
    say("{\"event\":" + quoted(event == null ? "message" : event) + ",\"data\":" + quoted(data)
        + ",\"id\":" + quoted(id == null ? "" : id) + "}");
  }

  private static synchronized void say(String line) {
    System.out.writeBytes((line + "\n").getBytes(StandardCharsets.UTF_8));
    System.out.flush();
  }

  /** A JSON string; what is not printable ASCII is escaped. */
  private static String quoted(String text) {
    if (text == null) {
      return "null";
    }
    StringBuilder out = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ' || c > '~') {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.append('"').toString();
  }
}
