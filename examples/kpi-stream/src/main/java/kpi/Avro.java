package kpi;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;

/** Reads values in Confluent's wire format: a zero, the id of the schema in four bytes, the Avro body. Schemas come from the registry. */
final class Avro {
    private final HttpClient http = HttpClient.newHttpClient();
    private final Map<Integer, Schema> schemas = new HashMap<>();
    private final String registry;

    Avro(String registry) {
        this.registry = registry;
    }

    GenericRecord read(byte[] value) {
        if (value.length < 5 || value[0] != 0) {
            throw new IllegalArgumentException("the value is not in Confluent's wire format: does the poller use a schema registry?");
        }
        int id = ByteBuffer.wrap(value).getInt(1);
        try {
            if (!schemas.containsKey(id)) {
                schemas.put(id, schema(id));
            }
            var body = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
            return new GenericDatumReader<GenericRecord>(schemas.get(id)).read(null, body);
        } catch (IOException | InterruptedException e) {
            throw new IllegalStateException("decode by schema " + id, e);
        }
    }

    private Schema schema(int id) throws IOException, InterruptedException {
        var answer = http.send(HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build(), HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IOException("the registry answers " + answer.statusCode() + ": " + answer.body());
        }
        return new Schema.Parser().parse(new ObjectMapper().readTree(answer.body()).get("schema").asText());
    }
}
