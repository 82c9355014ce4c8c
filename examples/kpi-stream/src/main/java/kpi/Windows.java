package kpi;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.ReadOnlyKeyValueStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;

/**
 * Counts the last revision of each thing, publishes the figure of a window once the window is complete, and again whenever it changes after that.
 * It sees the events of all partitions, so that it knows when they have been read up to the offsets of a watermark.
 */
final class Windows implements Processor<String, Event, String, Figure> {
    /** The stores: the last revision by entity_id, the number of accepted uses by list, the figures that were not published yet and those that were. */
    static final String THINGS = "things", USES = "uses", OPEN = "open", CLOSED = "closed";
    /** The offset after the last event of each topic and partition, and the global table with the last watermark of each endpoint. */
    static final String POSITIONS = "positions", WATERMARKS = "watermarks";

    private final Avro avro;
    private final Set<String> topics;
    private final long size, keep;
    private ProcessorContext<String, Figure> context;
    private KeyValueStore<String, Event> things;
    private KeyValueStore<String, Long> uses, positions;
    private KeyValueStore<String, Figure> open, closed;
    private ReadOnlyKeyValueStore<String, ValueAndTimestamp<byte[]>> watermarks;
    private final Map<String, Figure> touched = new HashMap<>(); // published figures as they were before the event that is counted
    private final List<GenericRecord> awaited = new ArrayList<>(); // the watermarks of all endpoints, until we have read up to their offsets

    Windows(Avro avro, Set<String> topics, Duration size, Duration keep) {
        this.avro = avro;
        this.topics = topics;
        this.size = size.toMillis();
        this.keep = keep.toMillis();
    }

    @Override
    public void init(ProcessorContext<String, Figure> context) {
        this.context = context;
        things = context.getStateStore(THINGS);
        uses = context.getStateStore(USES);
        open = context.getStateStore(OPEN);
        closed = context.getStateStore(CLOSED);
        positions = context.getStateStore(POSITIONS);
        watermarks = context.getStateStore(WATERMARKS);
        context.schedule(Duration.ofSeconds(1), PunctuationType.WALL_CLOCK_TIME, now -> publishComplete());
        context.schedule(Duration.ofHours(1), PunctuationType.WALL_CLOCK_TIME, now -> forget(now - keep));
    }

    @Override
    public void process(Record<String, Event> record) {
        Event event = record.value();
        positions.put(event.topic() + "-" + event.partition(), event.offset() + 1);
        Event before = things.get(event.id());
        if (before != null && before.revision() >= event.revision() || event.time() < context.currentSystemTimeMs() - keep) {
            return; // it came before
        }
        things.put(event.id(), event);
        touched.clear();
        if (before != null) {
            count(before, -1);
        }
        count(event, 1);
        touched.forEach((key, figure) -> {
            if (!closed.get(key).equals(figure)) {
                publish(key, closed.get(key));
            }
        });
    }

    /** Counts a thing, or with -1 takes back that it was counted. */
    private void count(Event event, int n) {
        if (!event.counts()) {
            return;
        }
        switch (event.kind()) {
            case LIST -> add(event, n, uses.get(event.id()) == null ? 0 : n, 0, 0);
            case THUMB -> add(event, 0, 0, n, event.negative() ? n : 0);
            case USE -> {
                boolean adopted = uses.get(event.list()) != null;
                Event list = things.get(event.list());
                if (use(event, n) != adopted && list != null && list.counts()) {
                    add(list, 0, n, 0, 0);
                }
            }
        }
    }

    /** Returns whether the list of a use is in use then. */
    private boolean use(Event event, int n) {
        long after = Objects.requireNonNullElse(uses.get(event.list()), 0L) + n;
        uses.put(event.list(), after == 0 ? null : after);
        return after > 0;
    }

    private void add(Event event, long lists, long adopted, long thumbs, long negative) {
        long start = Math.floorDiv(event.time(), size) * size;
        String from = Instant.ofEpochMilli(start).toString(), key = from + "/" + event.queue();
        Figure figure = closed.get(key);
        KeyValueStore<String, Figure> store = figure == null ? open : closed;
        if (figure != null) {
            touched.putIfAbsent(key, figure);
        } else if ((figure = open.get(key)) == null) {
            figure = new Figure(event.queue(), from, Instant.ofEpochMilli(start + size).toString(), 0, 0, 0, 0, 0);
        }
        store.put(key, figure.plus(lists, adopted, thumbs, negative));
    }

    private void publish(String key, Figure figure) {
        closed.put(key, figure.next());
        context.forward(new Record<>(key, figure.next(), context.currentSystemTimeMs()));
    }

    /** Publishes the figures of the windows that are complete: all watermarks of our topics say so, and we have read what they speak of. */
    private void publishComplete() {
        if (!awaited.stream().allMatch(this::reached)) {
            return; // newer ones would be no sooner reached
        }
        each(open, (key, figure) -> {
            long start = Instant.parse(figure.from()).toEpochMilli();
            if (!awaited.isEmpty() && awaited.stream().allMatch(watermark -> complete(watermark, start, start + size))) {
                open.delete(key);
                publish(key, figure);
            }
        });
        awaited.clear();
        each(watermarks, (key, value) -> {
            GenericRecord watermark = avro.read(value.value());
            if (((List<?>) watermark.get("feeds")).stream().anyMatch(topic -> topics.contains(topic.toString()))) {
                awaited.add(watermark);
            }
        });
    }

    private boolean reached(GenericRecord watermark) {
        return records(watermark, "offsets").filter(at -> topics.contains(at.get("topic").toString())).allMatch(at ->
                Objects.requireNonNullElse(positions.get(at.get("topic") + "-" + at.get("partition")), 0L) >= (long) at.get("offset"));
    }

    private static boolean complete(GenericRecord watermark, long start, long end) {
        return watermark.get("complete_from") instanceof Long from && from <= start && watermark.get("complete_up_to") instanceof Long to && to >= end
                && records(watermark, "gaps").noneMatch(gap -> (long) gap.get("from") < end && start < (long) gap.get("to"));
    }

    /** Forgets what happened before a time. */
    private void forget(long time) {
        each(things, (id, thing) -> {
            if (thing.time() < time) {
                things.delete(id);
                if (thing.counts() && thing.kind() == Event.Kind.USE) {
                    use(thing, -1);
                }
            }
        });
        String before = Instant.ofEpochMilli(time - size).toString();
        Stream.of(open, closed).forEach(figures -> each(figures, (key, figure) -> {
            if (figure.from().compareTo(before) < 0) {
                figures.delete(key);
            }
        }));
    }

    private static <V> void each(ReadOnlyKeyValueStore<String, V> store, BiConsumer<String, V> handle) {
        try (KeyValueIterator<String, V> entries = store.all()) {
            entries.forEachRemaining(entry -> handle.accept(entry.key, entry.value));
        }
    }

    private static Stream<GenericRecord> records(GenericRecord value, String field) {
        return ((List<?>) value.get(field)).stream().map(GenericRecord.class::cast);
    }
}
