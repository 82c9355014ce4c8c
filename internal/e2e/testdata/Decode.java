import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Scanner;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads topics with the schemas that standard input names, a line with topic and schema for each, a tab between them, and prints the fields of each record and
 * a line "--" after each topic. Arguments: brokers and the registry. Lists and maps are printed as their length, records as their first field.
 */
public class Decode {
    private static final HttpClient http = HttpClient.newHttpClient();
    private static final Map<Integer, Schema> writers = new HashMap<>();

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("isolation.level", "read_committed");
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8)) {
            while (lines.hasNextLine()) {
                String[] topicAndSchema = lines.nextLine().split("\t");
                print(consumer, args[1], topicAndSchema[0], new Schema.Parser().parse(topicAndSchema[1]));
            }
        }
    }

    private static void print(KafkaConsumer<byte[], byte[]> consumer, String registry, String topic, Schema reader) throws Exception {
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
        StringBuilder out = new StringBuilder();
        while (partitions.stream().anyMatch(p -> consumer.position(p) < ends.get(p))) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofSeconds(1))) {
                if (record.value() == null) {
                    continue; // a watermark that has ended
                }
                ByteBuffer value = ByteBuffer.wrap(record.value());
                if (value.get() != 0) {
                    throw new Exception(topic + ": not in Confluent's wire format");
                }
                var avro = new GenericDatumReader<GenericRecord>(writer(registry, value.getInt()), reader);
                GenericRecord event = avro.read(null, DecoderFactory.get().binaryDecoder(record.value(), 5, record.value().length - 5, null));
                List<String> cells = new ArrayList<>();
                for (Schema.Field field : reader.getFields()) {
                    cells.add(cell(event.get(field.pos())));
                }
                out.append(String.join("\t", cells)).append('\n');
            }
        }
        System.out.write(out.append("--\n").toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    private static Schema writer(String registry, int id) throws Exception {
        if (!writers.containsKey(id)) {
            var request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
            String answer = http.send(request, HttpResponse.BodyHandlers.ofString()).body();
            writers.put(id, new Schema.Parser().parse(new ObjectMapper().readTree(answer).get("schema").asText()));
        }
        return writers.get(id);
    }

    private static String cell(Object value) {
        if (value instanceof GenericRecord record) {
            return cell(record.get(0));
        } else if (value instanceof Collection<?> list) {
            return String.valueOf(list.size());
        } else if (value instanceof Map<?, ?> map) {
            return String.valueOf(map.size());
        } else if (value instanceof ByteBuffer bytes) {
            return cell(StandardCharsets.UTF_8.decode(bytes));
        }
        return String.valueOf(value).replace("\n", "\\n").replace("\t", "\\t");
    }
}
