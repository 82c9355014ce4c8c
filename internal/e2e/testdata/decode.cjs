// Reads topics with the schemas that standard input names; see Decode.java. The first argument is the directory of the modules. The number of
// records, in the third column, says when a topic is read.
const { createRequire } = require("node:module");
const { readFileSync } = require("node:fs");

const [directory, brokers, registry] = process.argv.slice(2);
const modules = createRequire(directory + "/");
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = modules("kafkajs");
const avro = modules("avsc");
CompressionCodecs[CompressionTypes.Snappy] = modules("kafkajs-snappy");

const writers = new Map();

async function writer(id) {
  if (!writers.has(id)) {
    const answer = await (await fetch(`${registry}/schemas/ids/${id}`)).json();
    writers.set(id, JSON.parse(answer.schema));
  }
  return writers.get(id);
}

function cell(value, type) {
  if (value === null) return "null";
  if (Buffer.isBuffer(value)) return cell(value.toString());
  if (Array.isArray(value)) return String(value.length);
  if (typeof value === "object") {
    const record = (Array.isArray(type) ? type : [type]).find((t) => t.type === "record");
    return record ? cell(value[record.fields[0].name]) : String(Object.keys(value).length);
  }
  return String(value).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

async function read(kafka, topic, schema, count) {
  const reader = avro.Type.forSchema(schema);
  const resolvers = new Map();
  const rows = [];
  const consumer = kafka.consumer({ groupId: "decode." + topic, readUncommitted: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await new Promise((resolve, reject) => {
    if (count === 0) resolve();
    consumer.on(consumer.events.CRASH, (e) => reject(e.payload.error));
    consumer.run({
      eachMessage: async ({ message }) => {
        if (message.value === null) return;
        const id = message.value.readInt32BE(1);
        if (!resolvers.has(id)) resolvers.set(id, reader.createResolver(avro.Type.forSchema(await writer(id))));
        const event = reader.fromBuffer(message.value.subarray(5), resolvers.get(id));
        rows.push(schema.fields.map((f) => cell(event[f.name], f.type)).join("\t"));
        if (rows.length === count) resolve();
      },
    });
  });
  await consumer.disconnect();
  return rows;
}

async function main() {
  const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.ERROR });
  for (const line of readFileSync(0, "utf8").trimEnd().split("\n")) {
    const [topic, schema, count] = line.split("\t");
    const rows = await read(kafka, topic, JSON.parse(schema), Number(count));
    process.stdout.write(rows.map((r) => r + "\n").join("") + "--\n");
  }
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
