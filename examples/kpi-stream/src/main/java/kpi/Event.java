package kpi;

import java.util.Set;
import org.apache.avro.generic.GenericRecord;

/**
 * What the figures need of an event, and where it was read.
 *
 * @param id the entity_id: whose version it is
 * @param counts false where the thing is not, or no more, what a figure counts
 * @param list of a use: the list that it comes from
 */
record Event(String topic, int partition, long offset, Kind kind, String id, long revision, boolean counts, long time, String queue, String list,
        boolean negative) {

    enum Kind {
        LIST("suggestion-shown"), USE("suggestion-used"), THUMB("feedback");

        final String topic;

        Kind(String topic) {
            this.topic = topic;
        }
    }

    static Event of(Kind kind, String topic, int partition, long offset, GenericRecord value) {
        String list = kind == Kind.USE ? text(value, "shown_entity_id") : null;
        String sentiment = kind == Kind.THUMB ? text(value, "sentiment") : null;
        boolean counts = text(value, "superseded_by") == null && switch (kind) {
            case LIST -> true;
            case USE -> list != null && Set.of("SENT", "COPIED", "RUN").contains(text(value, "usage"));
            case THUMB -> text(value, "given_by").equals("AGENT") && Set.of("POSITIVE", "NEGATIVE").contains(sentiment);
        };
        String queue = value.get("queue") instanceof GenericRecord named ? text(named, "queue_name") : null;
        return new Event(topic, partition, offset, kind, text(value, "entity_id"), (long) value.get("revision"), counts, (long) value.get("event_time"),
                queue == null ? "-" : queue, list, "NEGATIVE".equals(sentiment));
    }

    private static String text(GenericRecord value, String field) {
        Object text = value.get(field);
        return text == null ? null : text.toString();
    }
}
