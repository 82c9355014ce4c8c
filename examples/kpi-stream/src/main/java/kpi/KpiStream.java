package kpi;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.Stores;

/** Publishes for each queue and hour how many of the suggestions were adopted, and how many thumbs are down. */
public final class KpiStream {
    private static final ObjectMapper json = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        Map<String, String> flags = new HashMap<>(Map.of("--brokers", "localhost:9092", "--registry", "http://localhost:8081",
                "--prefix", "agentassist.", "--output", "kpis", "--window", "PT1H", "--keep", "P60D"));
        for (int i = 0; i < args.length; i += 2) {
            if (!flags.containsKey(args[i]) || i + 1 == args.length) {
                throw new IllegalArgumentException(args[i] + " is no flag with a value; there are " + flags);
            }
            flags.put(args[i], args[i + 1]);
        }
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, flags.get("--output"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, flags.get("--brokers"));
        // Offsets, state and figures are committed as one, and only committed records are read.
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 10_000); // that long a new process waits for one that was killed

        createOutput(settings, flags.get("--output"));
        KafkaStreams streams = new KafkaStreams(topology(flags), settings);
        streams.setUncaughtExceptionHandler(failure -> {
            failure.printStackTrace();
            Runtime.getRuntime().halt(1); // what was not committed did not happen
            return null;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10)))); // Kafka may be gone
        System.out.println(Figure.HEADER);
        streams.start();
    }

    private static Topology topology(Map<String, String> flags) {
        String registry = flags.get("--registry"), prefix = flags.get("--prefix");
        Duration window = Duration.parse(flags.get("--window")), keep = Duration.parse(flags.get("--keep"));
        Map<String, Event.Kind> topics = Stream.of(Event.Kind.values()).collect(Collectors.toMap(kind -> prefix + kind.topic, kind -> kind));

        StreamsBuilder builder = new StreamsBuilder();
        // A global table is read up to its end before the first event is: no watermark is missing when a window is closed.
        builder.globalTable(prefix + "watermark", Materialized.<String, byte[]>as(Stores.inMemoryKeyValueStore(Windows.WATERMARKS))
                .withKeySerde(Serdes.String()).withValueSerde(Serdes.ByteArray()));
        Map.of(Windows.THINGS, serde(Event.class), Windows.USES, Serdes.Long(), Windows.POSITIONS, Serdes.Long(),
                Windows.OPEN, serde(Figure.class), Windows.CLOSED, serde(Figure.class)).forEach((name, values) ->
                builder.addStateStore(Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(name), Serdes.String(), values)));

        builder.stream(topics.keySet(), Consumed.with(Serdes.String(), Serdes.ByteArray()))
                .process(() -> new ContextualProcessor<String, byte[], String, Event>() {
                    private final Avro avro = new Avro(registry);

                    @Override
                    public void process(Record<String, byte[]> record) {
                        var at = context().recordMetadata().orElseThrow();
                        context().forward(record.withValue(
                                Event.of(topics.get(at.topic()), at.topic(), at.partition(), at.offset(), avro.read(record.value()))));
                    }
                })
                // Into one partition: a window is closed when all partitions have been read.
                .repartition(Repartitioned.with(Serdes.String(), serde(Event.class)).withName("events").withNumberOfPartitions(1))
                .process(() -> new Windows(new Avro(registry), topics.keySet(), window, keep),
                        Windows.THINGS, Windows.USES, Windows.POSITIONS, Windows.OPEN, Windows.CLOSED)
                .peek((key, figure) -> System.out.println(figure.line()))
                .to(flags.get("--output"), Produced.with(Serdes.String(), serde(Figure.class)));
        return builder.build();
    }

    /** Creates the topic of figures if it is not there: of each figure it keeps the last revision. */
    private static void createOutput(Properties settings, String name) throws Exception {
        try (Admin admin = Admin.create(settings)) {
            admin.createTopics(Set.of(new NewTopic(name, Optional.of(1), Optional.empty()).configs(Map.of("cleanup.policy", "compact")))).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof TopicExistsException)) {
                throw e;
            }
        }
    }

    private static <T> Serde<T> serde(Class<T> type) {
        return Serdes.serdeFrom((topic, value) -> {
            try {
                return value == null ? null : json.writeValueAsBytes(value);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }, (topic, text) -> {
            try {
                return text == null ? null : json.readValue(text, type);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }
}
