"""Reads topics with the schemas that standard input names; see Decode.java."""
import datetime
import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

brokers, registry = sys.argv[1], SchemaRegistryClient({"url": sys.argv[2]})


def cell(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime.datetime):
        return str(round(value.timestamp() * 1000))
    if isinstance(value, bytes):
        return cell(value.decode())
    if isinstance(value, Record):
        return cell(next(iter(value.values())))
    if isinstance(value, (list, dict)):
        return str(len(value))
    return str(value).replace("\n", "\\n").replace("\t", "\\t")


class Record(dict):
    """The value of a field whose type is a record, where the others are maps."""


def is_record(field):
    types = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return any(isinstance(t, dict) and t["type"] == "record" for t in types)


for line in sys.stdin:
    topic, schema, _ = line.split("\t")
    decode = AvroDeserializer(registry, schema)
    fields = json.loads(schema)["fields"]
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "decode", "enable.auto.commit": False, "enable.partition.eof": True})
    partitions = consumer.list_topics(topic).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    ended = 0
    while ended < len(partitions):
        message = consumer.poll()
        if message.error() is not None:
            if message.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(message.error())
            ended += 1
        elif message.value() is not None:
            event = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
            values = [Record(event[f["name"]]) if is_record(f) and event[f["name"]] is not None else event[f["name"]] for f in fields]
            print("\t".join(map(cell, values)))
    consumer.close()
    print("--")
